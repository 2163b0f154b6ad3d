"""What `cm-exec bench` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, get_args

import click

from cm_exec.config.tables import MAX_SLOTS
from cm_exec.config.types import Mode

MODES: Final[tuple[Mode, ...]] = get_args(Mode)


class Asked(TypedDict):
    """The options as the command line gives them."""

    functions: tuple[str, ...]
    config_path: Path
    modes: tuple[Mode, ...]
    concurrency: tuple[int, ...]
    seconds: float
    query: str | None
    query_files: tuple[str, ...]
    rate: float | None
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """`functions` and `modes` are empty for all; `seconds` is for each measurement; `rate` in jobs per second."""

    functions: tuple[str, ...]
    config_path: Path
    modes: tuple[Mode, ...]
    concurrency: tuple[int, ...]
    seconds: float
    query: str | None
    query_files: tuple[str, ...]
    rate: float | None
    as_json: bool


def read_counts(_context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Numbers of slots, such as `1,4`: each once, the least first. Raises click.BadParameter."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and 1 <= int(word[:9]) <= MAX_SLOTS for word in words):
        raise click.BadParameter(
            f"expected integers from 1 to {MAX_SLOTS} with commas between, such as 1,4", param=parameter
        )
    return tuple(sorted({int(word) for word in words}))
