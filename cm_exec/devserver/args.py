"""What `cm-exec dev` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict, get_args

Style = Literal["modern", "connection-file"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)


class DevOptionsDict(TypedDict):
    """The options as the command line gives them."""

    config_path: Path
    port: int | None
    runtime_port: int
    concurrency: int | None
    call_timeout: float
    faults: tuple[str, ...]
    starts_worker: bool
    env_file: Path | None
    env_style: Style
    watched: tuple[Path, ...]
    reloads: bool
    open_browser: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """`port` and `concurrency` are None where they are not said; `call_timeout` is in seconds, 0 for none."""

    config_path: Path
    port: int | None
    runtime_port: int
    concurrency: int | None
    call_timeout: float
    faults: tuple[str, ...]
    starts_worker: bool
    env_file: Path | None
    env_style: Style
    watched: tuple[Path, ...]
    reloads: bool
    open_browser: bool
