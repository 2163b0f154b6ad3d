"""What the program that runs the worker tells of it."""

from dataclasses import dataclass
from enum import StrEnum


class ProcessState(StrEnum):
    """Where the worker's process stands."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    NONE = "none"
    """None is run: another worker is pointed at the runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProcess:
    """`since` is when it came into this state, in seconds since the epoch."""

    state: ProcessState
    since: float
    pid: int | None = None
    command: str | None = None
    exit_code: int | None = None
