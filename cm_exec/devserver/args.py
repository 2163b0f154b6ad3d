"""The options of `cm-exec dev`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

Style = Literal["modern", "connection-file"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevArgs:
    """Ports and `concurrency` are None by default; `call_timeout` is in seconds, 0 for none."""

    worker_command: tuple[str, ...]
    config_path: Path
    port: int | None
    runtime_port: int | None
    runtime_dir: Path | None
    listen: str
    host_names: tuple[str, ...]
    concurrency: int | None
    call_timeout: float
    faults: tuple[str, ...]
    starts_worker: bool
    env_file: Path | None
    env_style: Style
    ready_file: Path | None
    watched: tuple[Path, ...]
    reloads: bool
    open_browser: bool
    fails_on_breach: bool
    user_id: str | None
    auth_header: str | None
