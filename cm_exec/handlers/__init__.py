"""What all modes share: the interface of a handler, its context, and the environment of its processes."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from cm_exec.config import Function, Program, Service
from cm_exec.handlers.outcome import failure_of_abort
from cm_exec.handlers.spool import StreamingSpool, spool_directory
from cm_exec.processes.launcher import prefer_for_oom
from cm_exec.processes.termination import Graces, ProcessTree
from cm_exec.protocol import Job
from cm_exec.protocol import environment as names
from cm_exec.protocol.failure import Failure, JobFailedError, Reason


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
    on_delay: OnDelay | None = None

    @classmethod
    def from_process(cls) -> "HandlerContext":
        """Return the context of this process, with its environment and its temporary folder."""
        prefer_for_oom()
        return cls(environment=read_environment(), spool_directory=spool_directory())

    def abort(self, job_id: str, reason: Reason, detail: str = "") -> None:
        """End one job, if it runs."""
        if job_id in self.running:
            self.running[job_id](reason, detail)

    def abort_all(self) -> None:
        """End all jobs with an error, and start no command any more."""
        self.stopping = True
        for abort in list(self.running.values()):
            abort(Reason.SHUTDOWN, "")

    def kill_all(self) -> None:
        """End all jobs with an error, and send SIGKILL to every process of every job."""
        self.abort_all()
        for tree in list(self.trees):
            tree.kill()


@contextmanager
def abortable(context: HandlerContext, function: Function, job: Job, spool: StreamingSpool) -> Iterator[None]:
    """Let something end the job while this task waits: for a process, or for a response.

    Raises JobFailedError then.
    """
    task = asyncio.current_task()
    aborted: list[tuple[Reason, str]] = []

    def abort(reason: Reason, detail: str) -> None:
        aborted.append((reason, detail))
        if task is not None:
            task.cancel()

    context.running[job.job_id] = abort
    try:
        yield
    except asyncio.CancelledError:
        if not aborted:
            raise
        raise JobFailedError(failure_of_abort(function, *aborted[0], spool, process_goes_on=True)) from None
    finally:
        context.running.pop(job.job_id, None)


class Handler:
    """Runs the jobs of one function. `streams`: the result is posted while it is produced."""

    def __init__(self, function: Function, context: HandlerContext) -> None:
        self._function = function
        self._context = context
        self.streams = bool(function.stream)

    async def open(self) -> None:
        """Start what must be ready before the first job: by default nothing."""

    async def wait_until_ready(self) -> None:
        """Return when it is ready, or when it cannot be made ready."""

    async def close(self) -> None:
        """End what waits for jobs; safe to call again."""

    def new_spool(self) -> StreamingSpool:
        """Return an empty spool for the result of one job."""
        return StreamingSpool(self._context.spool_directory)

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job and write its result to `spool`. Nothing that a command does makes it raise."""
        raise NotImplementedError


def read_environment() -> dict[bytes, bytes]:
    """Return the environment that the launcher was started with.

    It is read from the kernel where possible: CPython adds LC_CTYPE to its own environment when no locale is set, and
    a handler must not inherit that.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def command_environment(options: Program, launcher: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables that all processes of a function or a service get."""
    hidden = {os.fsencode(name) for name in names.CONNECTION_VARIABLES | names.JOB_VARIABLES}
    inherited = {name: value for name, value in launcher.items() if name not in hidden}
    if options.inherit_env is not None:
        wanted = {os.fsencode(name) for name in options.inherit_env}
        inherited = {name: value for name, value in inherited.items() if name in wanted}
    own = {os.fsencode(name): os.fsencode(value) for name, value in options.env.items()}
    return inherited | own


def service_environment(service: Service, launcher: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables of a service. Python is unbuffered: a result in a buffer is a result that never comes."""
    return {b"PYTHONUNBUFFERED": b"1", **command_environment(service, launcher)}


def job_environment(job: Job, *, credentials: bool) -> dict[bytes, bytes]:
    """Return the variables that describe the job; `credentials` adds the caller's tokens."""
    values = {names.CM_JOB_ID: job.job_id, names.CM_QUERY_TYPE: job.query_type, names.CM_USER_ID: job.user_id}
    if credentials:
        values[names.CM_AUTH_HEADER] = job.auth_header
        values[names.CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN] = job.temporary_credentials_auth_token
    return {name.encode(): _value(value) for name, value in values.items() if value is not None}


def _value(text: str) -> bytes:
    """Encode a value for an environment, which cannot hold NUL."""
    return text.replace("\0", "").encode(errors="replace")
