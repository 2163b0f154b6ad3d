"""One process of a service: its pipes, its start and its exit, on the loop from its start to its end."""

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from cm_exec.config import Function, Service
from cm_exec.handlers import HandlerContext, StderrSink
from cm_exec.handlers.outcome import StderrTail, log_exit
from cm_exec.handlers.service_state import StartWatch
from cm_exec.handlers.spool import LimitedOutput, Spool
from cm_exec.processes.child import LARGE_PIPE, PIPE_BUF, Child, bytes_in, resize_pipe
from cm_exec.processes.stdin_probe import StdinProbe
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason

if TYPE_CHECKING:
    from cm_exec.handlers.pool import Pool

log: Final = logging.getLogger("cm_exec.handler")

_READ_SIZE: Final = 64 * 1024
_MOST_READS: Final = 32

TOO_EARLY: Final = "before it was ready"
BETWEEN: Final = "between jobs"
_AFTER_ONE: Final = "after one answer instead of reading its next query"

NOT_READ: Final = "it did not read its query"
IN_BUFFER: Final = (
    "it read the query, waits for the next one and wrote nothing; "
    "its answer is probably in a buffer: flush the output after each answer"
)
WAITS: Final = "it read the query and wrote nothing; it waits for the next query or for another event"


class Attempt(Struct, frozen=True):
    """The end of a job in one process. With `is_repeatable` the process had no query, and another can have the job."""

    failure: Failure | None
    is_repeatable: bool


class RunningJob:
    """A job that a process has now."""

    def __init__(self, function: Function, job: Job, spool: Spool, stderr: StderrSink) -> None:
        self.function = function
        self.job_id = job.job_id
        self.output = LimitedOutput(spool, function.max_output)
        self.stderr = stderr
        self.done: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

    def finish(self, failure: Failure | None) -> None:
        """Set the outcome, unless it is set."""
        if not self.done.done():
            self.done.set_result(failure)


class ServiceProcess(ABC):
    """Reads and writes the pipes of a process that serves many jobs.

    Each kind of process decides what the output means. `jobs` and the properties are what a pool asks for.
    """

    def __init__(
        self, service: Service, context: HandlerContext, child: Child, pool: "Pool[Any]", stderr: StderrSink
    ) -> None:
        self.child = child
        self.jobs = 0
        self.probe = StdinProbe(child.pid, child.stdin)
        self.stderr_tail = StderrTail()
        self.status: int | None = None
        self._service = service
        self._subject = f"the process of {service.name!r}"
        self._context = context
        self._pool = pool
        self._stderr = stderr
        self._loop = asyncio.get_running_loop()
        self.idle_since = self._loop.time()
        self._open: set[int] = {child.result, child.stderr}
        self._stdin_is_narrow = False
        self._writing = False
        self._on_stdin_read: Callable[[], None] | None = None
        self._attached = True
        self._is_large = False
        self._closed_timer: asyncio.TimerHandle | None = None
        os.set_blocking(child.stdin, False)
        child.exit_watch.start(self._loop, self._exit_ready)
        self._loop.add_reader(child.result, self._read_result)
        self._loop.add_reader(child.stderr, self._read_stderr)
        self._start = StartWatch(service, self.probe, self._became_ready, self._not_ready_in_time)

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether the process can take a job now."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether the process is ready and has no job."""

    @property
    def is_ready(self) -> bool:
        """Whether the start of the process is over."""
        return self._start.is_ready

    @property
    def _is_used_up(self) -> bool:
        limit = self._service.max_jobs
        return limit is not None and self.jobs >= limit

    @abstractmethod
    async def run(self, function: Function, job: Job, spool: Spool, stderr: StderrSink) -> Attempt:
        """Run one job."""

    @abstractmethod
    def has_job(self, job_id: str) -> bool:
        """Return whether the process has this job."""

    @abstractmethod
    def obstacle(self) -> str:
        """Say what keeps a result back; nothing if the process may be at work on it."""

    @abstractmethod
    def received(self, chunk: bytes) -> None:
        """Take output of the result descriptor."""

    @abstractmethod
    def received_stderr(self, chunk: bytes) -> None:
        """Take output of stderr."""

    @abstractmethod
    def exited(self, status: int) -> None:
        """Note the exit of the process; all its output was taken before."""

    @abstractmethod
    def _still_closed(self) -> None:
        """End a process that has closed its result descriptor and goes on: no result can come any more."""

    def _became_ready(self) -> None:
        self._pool.became_ready()
        if self.has_room:
            self._pool.has_room(self)

    def _not_ready_in_time(self) -> None:
        message = f"{self._subject} was not ready within {self._service.start_timeout:g} s"
        self._start_failed(Failure(reason=Reason.NOT_STARTED, message=message, stderr=self._stderr_end()))

    def _start_failed(self, failure: Failure) -> None:
        self._pool.start_failed(self, failure)

    def _discard(self, failure: Failure | None = None) -> None:
        """End the process; `failure` is that of its start, if it never was ready."""
        self._pool.discard(self, None if self.is_ready else failure)

    def _unexpected(self, output: bytes) -> Failure:
        """Return the failure of jobs that wait for a process which wrote something before it was ready."""
        message = f"{self._subject} wrote something unexpected before it was ready"
        return Failure(reason=Reason.NOT_STARTED, message=message, stderr=self._stderr_end(), output=output)

    def _stderr_end(self) -> bytes:
        return self.stderr_tail.getvalue()

    def _log_exit(self, status: int, *, had_one_job: bool) -> None:
        when = (_AFTER_ONE if had_one_job and not status else BETWEEN) if self.is_ready else TOO_EARLY
        log_exit(self._subject, when, status, self._stderr_end(), self._pool.tags)

    def _warn(self, what: str) -> None:
        log.warning("%s %s", self._subject, what, extra={"tags": self._pool.tags})

    def detach(self) -> None:
        """Stop watching the process, which is about to be ended."""
        if not self._attached:
            return
        self._attached = False
        self._start.cancel()
        if self._closed_timer is not None:
            self._closed_timer.cancel()
        self.child.exit_watch.stop(self._loop)
        for fd in self._open:
            self._loop.remove_reader(fd)
        self._open.clear()
        self._stop_writing()
        self.probe.close()
        self._stderr.flush()

    def send(self, data: bytes, when_read: Callable[[], None] | None = None) -> None:
        """Write to stdin, in the background if the pipe is full.

        `when_read` is called when the process has read all that was sent; the pipe is made one page large for that,
        so that it can be written to only when it is empty. Where that is not possible it is called at once.
        """
        child = self.child
        if child.unsent:
            child.unsent = memoryview(bytes(child.unsent) + data)
        else:
            child.send(data)
        if when_read is not None:
            self._call_when_read(when_read)
        elif child.unsent:
            if len(child.unsent) > PIPE_BUF:
                self._stdin_is_narrow = False
                resize_pipe(child.stdin, LARGE_PIPE)
            self._start_writing()

    @property
    def has_output(self) -> bool:
        """Whether the result descriptor is open."""
        return self.child.result in self._open

    def output_waits(self) -> bool:
        """Return whether there is unread output."""
        return self.child.result in self._open and bytes_in(self.child.result) > 0

    def read_waiting(self) -> bytes:
        """Return unread output, which is not handed on."""
        return self._read(self.child.result) or b""

    def query_was_read(self) -> bool:
        """Return whether the process has read everything that was sent."""
        return not self.child.unsent and not bytes_in(self.child.stdin)

    def _call_when_read(self, when_read: Callable[[], None]) -> None:
        if not self._stdin_is_narrow:
            self._stdin_is_narrow = resize_pipe(self.child.stdin, PIPE_BUF)
        if not self._stdin_is_narrow:
            self._loop.call_soon(when_read)
            return
        self._on_stdin_read = when_read
        self._start_writing()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self.child.stdin, self._stdin_ready)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self.child.stdin)

    def _stdin_ready(self) -> None:
        when_read, self._on_stdin_read = self._on_stdin_read, None
        if self.child.unsent and not self.child.send_more():
            return
        self._stop_writing()
        if when_read is not None:
            self._read_result()
            when_read()

    def _read_result(self) -> None:
        fd = self.child.result
        chunk = self._read(fd)
        if chunk is None:
            return
        if chunk:
            if len(chunk) == _READ_SIZE and not self._is_large:
                self._is_large = True
                resize_pipe(fd, LARGE_PIPE)
            self.received(chunk)
            return
        self._close_pipe(fd)
        if self.status is None:
            self._exit_ready()
        if self.status is None:
            self._closed_timer = self._loop.call_later(self._context.graces.terminate, self._still_closed)

    def read_stderr(self) -> None:
        """Take what is on stderr now."""
        fd = self.child.stderr
        if fd not in self._open or not bytes_in(fd):
            return
        self._read_stderr()

    def _read_stderr(self) -> None:
        fd = self.child.stderr
        chunk = self._read(fd)
        if chunk is None:
            return
        if chunk:
            self.stderr_tail.write(chunk)
            self.received_stderr(chunk)
        else:
            self._close_pipe(fd)

    def _read(self, fd: int) -> bytes | None:
        """Return what is in a pipe, empty at its end; None if there is nothing, or it was closed."""
        if fd not in self._open:
            return None
        try:
            return os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return None

    def _close_pipe(self, fd: int) -> None:
        self._open.discard(fd)
        self._loop.remove_reader(fd)

    def _exit_ready(self) -> None:
        status = self.child.exit_status()
        if status is None or self.status is not None or not self._attached:
            return
        self.status = status
        self._stop_writing()
        self.child.exit_watch.stop(self._loop)
        for read, fd in ((self._read_result, self.child.result), (self._read_stderr, self.child.stderr)):
            for _ in range(_MOST_READS):
                if fd not in self._open or not bytes_in(fd):
                    break
                read()
        if self._attached:
            self.exited(status)
