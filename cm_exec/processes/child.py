"""One child process: started with three pipes in a session of its own, and its exit awaited."""

import asyncio
import errno
import fcntl
import os
import resource
import signal
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from cm_exec.processes import launcher
from cm_exec.processes.launcher import STDOUT, attributes_of_child, has_pidfds, new_tag, result_descriptor
from cm_exec.processes.termination import ProcessTree
from cm_exec.protocol.failure import Failure, JobFailedError, Reason

_HAS_PIDFDS: Final = has_pidfds()
_exit_callbacks: Final[dict[int, Callable[[], None]]] = {}


class ExitWatch:
    """Calls `on_exit` on the loop each time the process may have exited, until it is closed.

    It uses a pidfd, or SIGCHLD where the kernel has no pidfds.
    """

    def __init__(self, pid: int) -> None:
        """Raise OSError when no descriptor is left."""
        self.pid = pid
        self._fd = os.pidfd_open(pid) if _HAS_PIDFDS else None

    def start(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
        """Begin to watch, or replace the callback."""
        if self._fd is not None:
            loop.add_reader(self._fd, on_exit)
            return
        _exit_callbacks[self.pid] = on_exit
        loop.add_signal_handler(signal.SIGCHLD, _child_exited)
        loop.call_soon(on_exit)  # it may have exited before the handler was there

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch no longer."""
        if self._fd is not None:
            loop.remove_reader(self._fd)
        _exit_callbacks.pop(self.pid, None)

    def close(self) -> None:
        """Close the pidfd."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _child_exited() -> None:
    for on_exit in list(_exit_callbacks.values()):
        on_exit()


NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

LARGE_PIPE: Final = 1024 * 1024
"""Bytes that the pipe of a large query or result should hold, so that it is turned over less often."""

PIPE_BUF: Final = 4096
"""Bytes that an empty pipe always takes at once."""

_NOTHING: Final = memoryview(b"")
"""The empty rest of an input. A slice at the end of the input would keep all of it in memory."""

_EXHAUSTED: Final = {
    errno.EMFILE: "the launcher has no free file descriptor",
    errno.ENFILE: "the system has no free file descriptor",
    errno.EAGAIN: "the limit of processes is reached",
    errno.ENOMEM: "there is not enough memory",
}


class NotStartedError(JobFailedError):
    """Raised when a command cannot be started.

    `exit_code` is the shell's code for it, 126 or 127, None if the cause is a lack of resources and not the command.
    """

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(Failure(reason=Reason.NOT_STARTED, message=message, exit_code=exit_code))


class Command(Struct, frozen=True, kw_only=True):
    """What to execute: arguments, environment, working directory, and the descriptor that carries the result."""

    argv: Sequence[str]
    env: Mapping[bytes, bytes]
    cwd: Path
    result_fd: int = STDOUT


class Child:
    """A running command.

    `stdin`, `result` and `stderr` are the launcher's ends of its pipes, the last two non-blocking. `unsent` is the
    part of the input that the pipe did not take at once. The result is what the command writes to its descriptor
    `result_fd`; if that is not stdout, its stdout goes where its stderr goes.
    """

    def __init__(
        self,
        command: Command,
        registry: set[ProcessTree],
        first_input: bytes | memoryview = b"",
        folder: str | None = None,
    ) -> None:
        """Start the command. Raises NotStartedError; nothing is left running then.

        `folder` belongs to the process tree and is removed with it.
        """
        self.stdin = self.result = self.stderr = -1
        self.unsent = _NOTHING
        child_ends: list[int] = []
        tag = new_tag()
        try:
            self._open_pipes(child_ends)
            self.send(first_input)
            self._process = _popen(command, child_ends, tag)
        except (OSError, MemoryError) as error:
            self._close_pipes()
            raise _not_started(command, error) from error
        finally:
            for fd in child_ends:
                os.close(fd)
        self.pid = self._process.pid
        self.tree = ProcessTree(self.pid, tag, registry, folder)
        self.exit_watch = self._watch(command)

    def _open_pipes(self, child_ends: list[int]) -> None:
        end, self.stdin = os.pipe()
        child_ends.append(end)
        self.result, end = os.pipe()
        child_ends.append(end)
        self.stderr, end = os.pipe()
        child_ends.append(end)
        os.set_blocking(self.result, False)
        os.set_blocking(self.stderr, False)

    def _watch(self, command: Command) -> ExitWatch:
        try:
            return ExitWatch(self.pid)
        except OSError as error:  # EMFILE: its exit would never be seen, so end it
            self.tree.signal_group(signal.SIGKILL)
            self._process.wait()
            self.tree.unregister()
            self._close_pipes()
            raise _not_started(command, error) from error

    def send(self, data: bytes | memoryview) -> None:
        """Write as much to stdin as the pipe takes at once; the rest is `unsent`."""
        if len(data) > PIPE_BUF:
            os.set_blocking(self.stdin, False)
        sent = 0
        with suppress(BlockingIOError, BrokenPipeError):  # the exit of the process will be seen
            sent = os.write(self.stdin, data) if data else 0
        self.unsent = memoryview(data)[sent:] if sent < len(data) else _NOTHING

    def send_more(self) -> bool:
        """Continue with `unsent`; return whether all is sent. A process may close its stdin early."""
        try:
            sent = os.write(self.stdin, self.unsent[:LARGE_PIPE])
        except BlockingIOError:
            return False
        except OSError:
            sent = len(self.unsent)
        self.unsent = self.unsent[sent:] if sent < len(self.unsent) else _NOTHING
        return not self.unsent

    def exit_status(self) -> int | None:
        """Return the exit status as subprocess gives it (-N: ended by signal N), None while the process runs."""
        if self._process.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.tree.leader_exited()
        return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM to the process group; SIGCONT lets a stopped process handle it."""
        self.tree.signal_group(signal.SIGTERM)
        self.tree.signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL to the process group."""
        self.tree.signal_group(signal.SIGKILL)

    def close_stdin(self) -> None:
        """Signal the end of the input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Close all descriptors; the process has exited, or the kernel does not end it."""
        self._process.returncode = self._process.returncode or 0  # silences Popen's warning of an abandoned process
        self.exit_watch.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        self.close_stdin()
        for fd in (self.result, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.result = self.stderr = -1


def _popen(command: Command, child_ends: Sequence[int], tag: int) -> subprocess.Popen[bytes]:
    stdin, result, stderr = child_ends
    to_stdout = command.result_fd == STDOUT
    placed: AbstractContextManager[list[int]] = nullcontext([]) if to_stdout else result_descriptor(result)
    with placed as pass_fds:

        def start(*, lower_limit: bool) -> subprocess.Popen[bytes]:
            with attributes_of_child(tag, lower_limit=lower_limit):
                return subprocess.Popen(
                    command.argv,
                    stdin=stdin,
                    stdout=result if to_stdout else stderr,
                    stderr=stderr,
                    pass_fds=pass_fds,
                    env=command.env,
                    cwd=command.cwd,
                    start_new_session=True,
                )

        try:
            return start(lower_limit=True)
        except OSError as error:
            if error.errno != errno.EMFILE or launcher.original_limit is None:
                raise
        # a helper thread took the low numbers that were free for the start: lower the child's limit afterwards
        process = start(lower_limit=False)
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (launcher.original_limit, hard))
        return process


def _not_started(command: Command, error: OSError | MemoryError) -> NotStartedError:
    name, cwd = command.argv[0], command.cwd
    number = error.errno if isinstance(error, OSError) else errno.ENOMEM
    if number in _EXHAUSTED:
        return NotStartedError(f"{name!r} cannot be started: {_EXHAUSTED[number]}", None)
    if not os.path.isdir(cwd):
        return NotStartedError(f"the working directory {str(cwd)!r} does not exist", NOT_EXECUTABLE)
    if number in {errno.ENOENT, errno.ENOTDIR}:
        exists = "/" in name and os.path.exists(cwd / name)
        why = "its interpreter does not exist" if exists else "command not found"
        return NotStartedError(f"{name!r} cannot be started: {why}", NOT_FOUND)
    if number == errno.ENOEXEC:
        why = "it is not a program for this machine, and has no #! line that names an interpreter"
        return NotStartedError(f"{name!r} cannot be started: {why}", NOT_EXECUTABLE)
    why = ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
    return NotStartedError(f"{name!r} cannot be started: {why}", NOT_EXECUTABLE)


def resize_pipe(fd: int, size: int) -> bool:
    """Set the capacity of a pipe to `size` bytes; return whether the system did that."""
    try:
        return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size) == size
    except (OSError, AttributeError):
        return False


def bytes_in(fd: int) -> int:
    """Return the number of unread bytes in a pipe, asked at either end."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little")
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        return 0
