"""What `cm-exec test` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Asked(TypedDict):
    """The options as the command line gives them."""

    names: tuple[str, ...]
    config_path: Path
    slots: int | None
    fail_fast: bool
    junit_path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """`names` is empty for all tests; `slots` is how many run at once, None where it is not said."""

    names: tuple[str, ...]
    config_path: Path
    slots: int | None
    fail_fast: bool
    junit_path: Path | None
