"""One process of a service: its pipes and its exit, on the loop from its start to its end."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from cm_exec.config.model import Function, Service
from cm_exec.handlers.base import StderrSink
from cm_exec.handlers.outcome import StderrTail
from cm_exec.handlers.spool import LimitedOutput, Spool
from cm_exec.processes.child import LARGE_PIPE, PIPE_BUF, Child, bytes_in, resize_pipe
from cm_exec.processes.stdin_probe import StdinProbe
from cm_exec.protocol.job import Failure, Job, Reason

_READ_SIZE: Final = 64 * 1024
_MOST_READS: Final = 32
_FIRST_PROBE: Final = 0.005
_LONGEST_PROBE: Final = 0.25
_COUNT_POLLS_AFTER: Final = 5.0
"""Seconds from the start after which a process in poll or select counts as reading: it may have loaded data before."""

TOO_EARLY: Final = "before it was ready"
BETWEEN: Final = "between jobs"
AFTER_ONE: Final = "after one answer instead of reading its next query"

NOT_READ: Final = "it did not read its query"
IN_BUFFER: Final = (
    "it read the query, waits for the next one and wrote nothing; "
    "its answer is probably in a buffer: flush the output after each answer"
)
WAITS: Final = "it read the query and wrote nothing; it waits for the next query or for another event"


class Conversation(Protocol):
    """The jobs of one process: takes the events of its pipes."""

    def received(self, chunk: bytes) -> None:
        """Take output of the result descriptor."""
        ...

    def stderr(self, chunk: bytes) -> None:
        """Take output of stderr."""
        ...

    def closed(self) -> None:
        """Note that the result descriptor is at its end, while the process still runs."""
        ...

    def exited(self, status: int) -> None:
        """Note the exit of the process; all its output was taken before."""
        ...


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


class ServiceProcess:
    """Reads and writes the pipes of a process that serves many jobs."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.probe = StdinProbe(child.pid, child.stdin)
        self.stderr_tail = StderrTail()
        self.status: int | None = None
        self._loop = asyncio.get_running_loop()
        self._open: set[int] = {child.result, child.stderr}
        self._stdin_is_narrow = False
        self._writing = False
        self._on_stdin_read: Callable[[], None] | None = None
        self._attached = True
        self._is_large = False
        os.set_blocking(child.stdin, False)

    def attach(self, conversation: Conversation) -> None:
        """Begin to watch."""
        self._conversation = conversation
        self.child.exit_watch.start(self._loop, self._exit_ready)
        self._loop.add_reader(self.child.result, self._read_result)
        self._loop.add_reader(self.child.stderr, self._read_stderr)

    def detach(self) -> None:
        """Stop watching."""
        if not self._attached:
            return
        self._attached = False
        self.child.exit_watch.stop(self._loop)
        for fd in self._open:
            self._loop.remove_reader(fd)
        self._open.clear()
        self._stop_writing()
        self.probe.close()

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
        """Return unread output that the conversation will not get."""
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
            self._conversation.received(chunk)
            return
        self._close_pipe(fd)
        if self.status is None:
            self._exit_ready()
        if self.status is None:
            self._conversation.closed()

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
            self._conversation.stderr(chunk)
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
            self._conversation.exited(status)


class StartWatch:
    """Watches the start of a process, until it is ready or its start_timeout is over.

    With `ready = "read"` a process is ready when it is seen to read its stdin; where that cannot be seen, at once.
    """

    def __init__(
        self,
        service: Service,
        process: ServiceProcess,
        on_ready: Callable[[], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._service = service
        self._process = process
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.is_ready = False
        self._look: asyncio.Handle | None = None
        self._timer = self._loop.call_later(service.start_timeout, self._too_late) if service.start_timeout else None
        if service.ready == "read":
            look = partial(self._look_again, _FIRST_PROBE) if process.probe.is_usable else self.succeeded
            self._look = self._loop.call_soon(look)

    def succeeded(self) -> None:
        """Note that the process is ready."""
        if not self.is_ready:
            self.cancel()
            self.is_ready = True
            self._on_ready()

    def cancel(self) -> None:
        """Watch no longer."""
        for handle in (self._look, self._timer):
            if handle is not None:
                handle.cancel()
        self._look = self._timer = None

    def _look_again(self, pause: float) -> None:
        probe = self._process.probe
        if probe.is_waiting() or probe.find_reader(with_polls=self._loop.time() > self._began + _COUNT_POLLS_AFTER):
            self.succeeded()
        else:
            self._look = self._loop.call_later(pause, self._look_again, min(_LONGEST_PROBE, pause * 1.5))

    def _too_late(self) -> None:
        self.cancel()
        message = f"the process of {self._service.name!r} was not ready within {self._service.start_timeout:g} s"
        stderr = self._process.stderr_tail.getvalue()
        self._on_failure(Failure(reason=Reason.NOT_STARTED, message=message, stderr=stderr))


def not_ready(service: str, stderr: bytes, output: bytes) -> Failure:
    """Return the failure of jobs that wait for a process which wrote something before it was ready."""
    message = f"the process of {service!r} wrote something unexpected before it was ready"
    return Failure(reason=Reason.NOT_STARTED, message=message, stderr=stderr, output=output)
