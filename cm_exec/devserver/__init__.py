"""What is behind `cm-exec dev`: the worker of a local runtime, and what the terminal shows of both."""

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from cm_exec.local_runtime.worker_files import Style  # what it imports comes with the extra


class DevArgs(Struct, frozen=True, kw_only=True):
    """The options of `cm-exec dev`.

    Ports and `concurrency` are None by default; `call_timeout` is in seconds, 0 for none.
    """

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
    env_style: "Style"
    ready_file: Path | None
    watched: tuple[Path, ...]
    reloads: bool
    open_browser: bool
    fails_on_breach: bool
    user_id: str | None
    auth_header: str | None
