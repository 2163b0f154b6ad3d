"""The interface of all modes: what the worker, `invoke` and `test` know of a handler."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct, field

from cm_exec.config.model import Service
from cm_exec.handlers.environment import read_environment
from cm_exec.handlers.output import StreamingSpool, spool_directory
from cm_exec.processes.launcher import prefer_for_oom
from cm_exec.processes.termination import Graces, ProcessTree
from cm_exec.protocol.job import Failure, Job, Reason

log: Final = logging.getLogger("cm_exec.handler")


class StderrSink(Protocol):
    """Takes what a handler writes to stderr."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...

    def flush(self) -> None:
        """Pass on what has come without a line end: the job is over."""
        ...


Abort = Callable[[Reason, str], None]
"""Ends a running job with a reason and a detail for its error."""

OnDelay = Callable[[Job, int, str], None]
"""Takes a job whose result does not come, after how many seconds, and what keeps it back."""


class Completion(Struct, frozen=True):
    """The end of a job. Without a failure the spool holds its result.

    `cleanup` ends what the job left running; it is awaited after the result was posted.
    """

    failure: Failure | None = None
    cleanup: Callable[[], Awaitable[None]] | None = None


class HandlerContext(Struct, kw_only=True):
    """What all handlers of a launcher share.

    `environment` is the launcher's own; `spool_directory` is the folder for large results, None for memory only;
    `trees` are the process trees that may have a running process; `running` ends each job that runs, by its id;
    `stopping` is true once no further command may be started. `on_delay` takes what keeps a result back.
    """

    environment: Mapping[bytes, bytes]
    spool_directory: str | None
    graces: Graces = field(default_factory=Graces)
    trees: set[ProcessTree] = field(default_factory=set)
    running: dict[str, Abort] = field(default_factory=dict)
    stopping: bool = False
    on_delay: "OnDelay | None" = None

    @classmethod
    def from_process(cls) -> "HandlerContext":
        """Return the context of this process, with its environment and its temporary folder."""
        prefer_for_oom()
        return cls(environment=read_environment(), spool_directory=spool_directory())

    def new_spool(self) -> StreamingSpool:
        """Return an empty spool for the result of one job."""
        return StreamingSpool(self.spool_directory)

    def abort(self, job_id: str, reason: Reason, detail: str = "") -> None:
        """End one job, if it runs."""
        if job_id in self.running:
            self.running[job_id](reason, detail)

    def abort_all(self, reason: Reason = Reason.SHUTDOWN) -> None:
        """End all jobs with an error, and start no command any more."""
        self.stopping = True
        for abort in list(self.running.values()):
            abort(reason, "")

    def kill_all(self) -> None:
        """End all jobs with an error, and send SIGKILL to every process of every job."""
        self.abort_all()
        for tree in list(self.trees):
            tree.kill()


class Handler(Protocol):
    """Runs the jobs of one function."""

    streams: bool
    """Whether the result is posted while it is produced."""

    async def open(self) -> None:
        """Start what must be ready before the first job."""
        ...

    async def wait_until_ready(self) -> None:
        """Return when it is ready, or when it cannot be made ready."""
        ...

    async def close(self) -> None:
        """End what waits for jobs."""
        ...

    def new_spool(self) -> StreamingSpool:
        """Return an empty spool for the result of one job."""
        ...

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job and write its result to `spool`. Nothing that a command does makes it raise."""
        ...


def os_error_text(error: OSError) -> str:
    """Return the system's words for an error; asyncio's have the address in them."""
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()


ServiceState = Literal["starting", "ready", "failed", "stopped"]
"""`failed`: the last start failed, and the next one comes after a pause; `stopped`: the next job starts it again."""

_SETTLED: Final = 0.3
"""Seconds that a state lasts before it is logged: a process that is replaced after each job is not worth two lines."""
_PATIENCE: Final = 5.0
"""Seconds that a service may not be ready until the log says what it waits for."""


class ServiceLog:
    """Logs the state of a service when it changes, and what it waits for, once, if it is not ready for long."""

    def __init__(self, service: Service, waits_for: Callable[[], str]) -> None:
        self._service = service
        self._waits_for = waits_for
        self._loop = asyncio.get_running_loop()
        self._state: tuple[ServiceState, int | None] = ("stopped", None)
        self._logged: tuple[ServiceState, int | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._warning: asyncio.TimerHandle | None = None

    def set(self, state: ServiceState, processes: int | None) -> None:
        """Take the state, and how many processes there are, None if something else starts them."""
        if (state, processes) == self._state:
            return
        self._state = (state, processes)
        if state in {"ready", "stopped"}:
            self._cancel_warning()
        elif self._warning is None:
            self._warning = self._loop.call_later(_PATIENCE, self._warn)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(0.0 if self._logged is None else _SETTLED, self._write)

    def close(self) -> None:
        """Log that the service has ended, if it was started."""
        self._cancel_warning()
        if self._timer is not None:
            self._timer.cancel()
        self._state = ("stopped", 0)
        if self._logged is not None:
            self._write()

    def _write(self) -> None:
        self._timer = None
        if self._state == self._logged:
            return
        self._logged = state, processes = self._state
        text = state if processes is None or state == "stopped" else f"{state}, processes: {processes}"
        details = {"service_state": state, "service_kind": self._service.protocol, "processes": processes}
        log.info("service %s: %s", self._service.name, text, extra={"tags": self._tags, "details": details})

    def _warn(self) -> None:
        if self._state[0] == "starting":  # the reason of a failed start was logged
            log.warning(
                "service %s is not ready after %g s: %s; start_timeout is %g s",
                self._service.name,
                _PATIENCE,
                self._waits_for(),
                self._service.start_timeout,
                extra={"tags": self._tags},
            )

    def _cancel_warning(self) -> None:
        if self._warning is not None:
            self._warning.cancel()
            self._warning = None

    @property
    def _tags(self) -> dict[str, str]:
        return {"function": self._service.name}
