"""One child process: started with three pipes in a session of its own, and ended with all that it started."""

import errno
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Final

from cm_exec.handlers.descriptors import STDOUT, descriptor_at
from cm_exec.handlers.exit_watch import ExitWatch, watch_exit
from cm_exec.handlers.oom import OomPreference
from cm_exec.handlers.orphans import Family

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

WIDE: Final = 1024 * 1024
"""Bytes that a pipe which carries much should hold, so that it is turned over less often."""

_BLOCKED_IN_READ: Final = {"x86_64": b"0 0x0 ", "aarch64": b"63 0x0 "}.get(os.uname().machine)  # read(0, ...)
_PIPE_BUF: Final = 4096  # what an empty pipe always takes at once
_oom_preference: Final = OomPreference()


class NotStartedError(Exception):
    """The command could not be started; `exit_code` is the shell's number for it, 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child:
    """A running command.

    `events` waits for its end and its output. `stdin`, `result` and `stderr` are the launcher's ends of its pipes;
    `unsent` is what of the input the pipe could not take at once. The result is what the command writes to its
    descriptor `result_fd`; if that is not stdout, stdout goes where stderr goes. `marker` is a `NAME=value` of `env`
    that no other job's processes have, `register` where its family stands.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[bytes, bytes],
        cwd: Path,
        marker: bytes,
        register: set[Family],
        result_fd: int = 1,
        first_input: bytes = b"",
    ) -> None:
        """Start the command. Raises NotStartedError."""
        self.stdin = self.result = self.stderr = -1
        theirs: list[int] = []
        try:
            self._open_pipes(theirs)
            self.send(first_input)
            self._process = _start(argv, env, cwd, theirs, result_fd)
        except OSError as error:
            self._close_pipes()
            raise _not_started(argv[0], cwd, error) from error
        finally:
            _close_all(theirs)
        self.pid = self._process.pid
        self._syscall: int | None = None
        self._stdin_is_narrow = False
        self.family = Family(self.pid, marker, register)
        self.exit_watch = self._watched(argv[0], cwd)
        self.events = select.poll()
        for fd in (self.exit_watch.fileno(), self.result, self.stderr):
            self.events.register(fd, select.POLLIN)

    def _open_pipes(self, theirs: list[int]) -> None:
        stdin, self.stdin = os.pipe()
        theirs.append(stdin)
        self.result, result = os.pipe()
        theirs.append(result)
        self.stderr, stderr = os.pipe()
        theirs.append(stderr)

    def _watched(self, command: str, cwd: Path) -> ExitWatch:
        try:
            return watch_exit(self.pid)
        except OSError as error:  # no descriptor is left: a process that nobody can watch must not run
            self.kill()
            self._process.wait()
            self.family.dissolve()
            self._close_pipes()
            raise _not_started(command, cwd, error) from error

    def send(self, query: bytes) -> None:
        """Put as much of the query into the pipe as it takes at once; the rest is `unsent`."""
        if len(query) > _PIPE_BUF:
            os.set_blocking(self.stdin, False)
        sent = 0
        with suppress(BlockingIOError, BrokenPipeError):  # one that has ended is told of by its exit
            sent = os.write(self.stdin, query) if query else 0
        self.unsent = memoryview(query)[sent:]

    def exit_status(self) -> int | None:
        """The exit status as subprocess gives it (negative: ended by that signal), None while it runs."""
        if self._process.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # its thread has ended, and the first thread has inherited and reaped it
                pid, status = self.pid, 0
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def waits_for_input(self) -> bool:
        """Whether the process is seen to be blocked in reading its stdin; False also where that cannot be seen."""
        if _BLOCKED_IN_READ is None:
            return False
        try:
            if self._syscall is None:
                self._syscall = os.open(f"/proc/{self.pid}/syscall", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._syscall, 64, 0).startswith(_BLOCKED_IN_READ)
        except OSError:
            return False

    def narrow_stdin(self) -> bool:
        """Let the pipe to stdin hold one page, so that it can be written to only when it is empty."""
        if not self._stdin_is_narrow:
            self._stdin_is_narrow = resize_pipe(self.stdin, _PIPE_BUF)
        return self._stdin_is_narrow

    def widen_stdin(self) -> None:
        """Let the pipe to stdin carry much."""
        self._stdin_is_narrow = False
        resize_pipe(self.stdin, WIDE)

    def terminate(self) -> None:
        """Ask the whole group to end; one that is stopped is let run, so that it can."""
        self.family.signal_group(signal.SIGTERM)
        self.family.signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """End the whole group."""
        self.family.signal_group(signal.SIGKILL)

    def close_stdin(self) -> None:
        """Tell the command that its input is at its end."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Give all descriptors back; the process itself must have ended or been given up."""
        self._process.returncode = self._process.returncode or 0  # a process that was given up is nobody's to warn of
        self.exit_watch.close()
        if self._syscall is not None:
            os.close(self._syscall)
        self._close_pipes()

    def _close_pipes(self) -> None:
        self.close_stdin()
        _close_all([fd for fd in (self.result, self.stderr) if fd >= 0])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _start(
    argv: Sequence[str], env: Mapping[bytes, bytes], cwd: Path, pipes: Sequence[int], result_fd: int
) -> subprocess.Popen[bytes]:
    stdin, result, stderr = pipes
    to_stdout = result_fd == STDOUT
    placed: AbstractContextManager[list[int]] = nullcontext([]) if to_stdout else descriptor_at(result_fd, result)
    with _oom_preference.raised(), placed as passed:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=result if to_stdout else stderr,
            stderr=stderr,
            pass_fds=passed,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )


def _not_started(command: str, cwd: Path, error: OSError) -> NotStartedError:
    if not cwd.is_dir():
        return NotStartedError(f"the folder {str(cwd)!r} that the command should run in does not exist", NOT_EXECUTABLE)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        exists = "/" in command and (cwd / command).exists()
        why = "its interpreter does not exist" if exists else "command not found"
        return NotStartedError(f"{command!r} cannot be started: {why}", NOT_FOUND)
    if error.errno == errno.ENOEXEC:
        why = "it is not a program for this machine, and has no #! line that names an interpreter"
        return NotStartedError(f"{command!r} cannot be started: {why}", NOT_EXECUTABLE)
    why = (error.strerror or str(error)).lower()
    return NotStartedError(f"{command!r} cannot be started: {why}", NOT_EXECUTABLE)


def resize_pipe(fd: int, size: int) -> bool:
    """Let a pipe hold `size` bytes; whether the system does that."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl  # noqa: PLC0415 - Linux only

        return fcntl(fd, F_SETPIPE_SZ, size) == size
    except (OSError, ImportError, AttributeError):
        return False
