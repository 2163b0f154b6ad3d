"""One query in, one result out: the loop over a child's pipes and its end."""

import errno
import fcntl
import math
import os
import select
import termios
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from cm_exec.handlers.leftovers import GIVE_UP, GRACE
from cm_exec.handlers.process import WIDE, Child, resize_pipe
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import STDERR_TAIL, Reason

StderrSink = Callable[[bytes], None]
"""Takes what a handler writes to stderr, as it comes; must not block."""

_PIPE_SIZE: Final = 64 * 1024
_LARGE: Final = 1024 * 1024
_TAIL_KEPT: Final = STDERR_TAIL + 16 * 1024  # so that a token is redacted whole before the tail is cut


class Limits(Struct, frozen=True, kw_only=True):
    """What one job may use: `timeout` in seconds, None for none; `max_output` in bytes."""

    timeout: float | None
    max_output: int


class Ending(Struct, frozen=True, kw_only=True):
    """How a child's job ended.

    `status` is its exit status as subprocess gives it, None if it could not be ended. `cause` is why the launcher
    ended it, None if it ended by itself; `detail` is added to the cause. `stderr` is the last of it.
    """

    status: int | None
    cause: Reason | None
    detail: str
    stderr: bytes


class Exchange:
    """Feeds a child its query, keeps its result, hands its stderr on, and sees to its limits, in one loop.

    It is over when the child has exited *and* what it wrote has been read. Other processes that hold its pipes
    open do not matter: what counts is what was in the pipe when it exited.
    """

    def __init__(self, child: Child, spool: Spool, limits: Limits, stderr: StderrSink, stop: StopNow) -> None:
        self._child = child
        self._spool = spool
        self._limits = limits
        self._stderr_sink = stderr
        self._stop = stop
        self._events = child.events
        self._stderr_tail = b""
        self._status: int | None = None
        self._cause: Reason | None = None
        self._detail = ""
        self._read_size = _PIPE_SIZE
        self._killed = False
        self._if_late = (Reason.TIMEOUT, "")
        self._over = False
        self._deadline = time.monotonic() + limits.timeout if limits.timeout else math.inf
        self._reactions = {
            child.exit_watch.fileno(): self._exited,
            child.result: self._result_ready,
            child.stderr: self._stderr_ready,
            child.stdin: self._stdin_ready,
            stop.fileno(): self._stopped,
        }

    def run(self) -> Ending:
        """See the job through to its end."""
        self._begin()
        while not self._over:
            for fd, _ in self._events.poll(self._milliseconds_left()):
                self._reactions[fd]()
            self._keep_deadline()
        if self._events.poll(0):
            self._drain(self._child.result, self._take_result)
            self._drain(self._child.stderr, self._take_stderr)
        return Ending(status=self._status, cause=self._cause, detail=self._detail, stderr=self._stderr_tail)

    def _begin(self) -> None:
        self._events.register(self._stop.fileno(), select.POLLIN)
        if self._child.unsent:
            self._child.widen_stdin()
            self._events.register(self._child.stdin, select.POLLOUT)
        else:
            self._input_sent()

    def _input_sent(self) -> None:
        self._child.close_stdin()

    def _milliseconds_left(self) -> int | None:
        if self._deadline == math.inf:
            return None
        return max(0, math.ceil((self._deadline - time.monotonic()) * 1000))

    def _exited(self) -> None:
        self._child.exit_watch.acknowledge()
        self._status = self._child.exit_status()
        self._over = self._status is not None

    def _stdin_ready(self) -> None:
        try:
            sent = os.write(self._child.stdin, self._child.unsent[:_LARGE])
        except BlockingIOError:
            return
        except OSError:  # the handler does not want the rest, which is its right
            sent = len(self._child.unsent)
        self._child.unsent = self._child.unsent[sent:]
        if not self._child.unsent:
            self._events.unregister(self._child.stdin)
            self._input_sent()

    def _result_ready(self) -> None:
        chunk = os.read(self._child.result, self._read_size)
        if not chunk:
            self._events.unregister(self._child.result)
            self._result_closed()
            return
        if len(chunk) == self._read_size == _PIPE_SIZE:
            self._read_size = _LARGE
            resize_pipe(self._child.result, WIDE)
        self._take_result(chunk)

    def _result_closed(self) -> None:
        """The exit will follow, or other work that has no result."""

    def _stderr_ready(self) -> None:
        chunk = os.read(self._child.stderr, _PIPE_SIZE)
        if not chunk:
            self._events.unregister(self._child.stderr)
        self._take_stderr(chunk)

    def _take_result(self, chunk: bytes) -> None:
        if self._cause is not None:
            return  # there will be no result
        if self._spool.size + len(chunk) > self._limits.max_output:
            self._end(Reason.OUTPUT_LIMIT)
            return
        try:
            self._spool.write(chunk)
        except OSError as error:
            self._end(Reason.OUTPUT_LIMIT, f"the temporary file cannot take it: {error.strerror}")

    def _take_stderr(self, chunk: bytes) -> None:
        if chunk:
            self._stderr_tail = (self._stderr_tail + chunk)[-_TAIL_KEPT:]
            self._stderr_sink(chunk)

    def _drain(self, fd: int, take: Callable[[bytes], None]) -> None:
        """Read what the pipe holds now and no more: a background process may go on writing for ever."""
        left = bytes_in(fd)
        while left > 0 and (chunk := os.read(fd, min(left, _LARGE))):
            left -= len(chunk)
            take(chunk)

    def _stopped(self) -> None:
        self._events.unregister(self._stop.fileno())
        self._end(Reason.SHUTDOWN)

    def _keep_deadline(self) -> None:
        if self._over or time.monotonic() < self._deadline:
            return
        if self._cause is None:
            self._exited()  # it may have ended in time, and the launcher may be late
            if not self._over:
                self._end(*self._if_late)
        elif not self._killed:
            self._child.kill()
            self._killed = True
            self._deadline = time.monotonic() + GIVE_UP
        else:  # the kernel does not let go of it (a dead network disk): the job is answered all the same
            self._over = True

    def _end(self, cause: Reason, detail: str = "") -> None:
        if self._cause is None:
            self._cause, self._detail = cause, detail
            self._child.terminate()
            self._deadline = time.monotonic() + GRACE


def bytes_in(fd: int) -> int:
    """How much a pipe holds, asked at either end."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little")
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        return 0
