"""One child process: started with three pipes in a session of its own, and ended with all that it started."""

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cm_exec.handlers.exit_watch import ExitWatch, watch_exit
from cm_exec.handlers.oom import OomPreference
from cm_exec.handlers.orphans import Family

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_PIPE_BUF: Final = 4096  # what an empty pipe always takes at once
_oom_preference: Final = OomPreference()


class NotStartedError(Exception):
    """The command could not be started; `exit_code` is the shell's number for it, 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child:
    """A running command.

    `stdin`, `stdout` and `stderr` are the launcher's ends of its pipes; `unsent` is what of the first input the
    pipe could not take at once. `marker` is a `NAME=value` of `env` that no other job's processes have.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[bytes, bytes],
        cwd: Path,
        marker: bytes,
        first_input: bytes = b"",
    ) -> None:
        """Start the command. Raises NotStartedError."""
        self.stdin = self.stdout = self.stderr = -1
        theirs: list[int] = []
        try:
            self._open_pipes(theirs)
            self.unsent = memoryview(first_input)[self._send_first(first_input) :]
            self._process = _start(argv, env, cwd, theirs)
        except OSError as error:
            self._close_pipes()
            raise _not_started(argv[0], cwd, error) from error
        finally:
            _close_all(theirs)
        self.pid = self._process.pid
        self.family = Family(self.pid, marker)
        self.exit_watch = self._watched(argv[0], cwd)

    def _open_pipes(self, theirs: list[int]) -> None:
        stdin, self.stdin = os.pipe()
        theirs.append(stdin)
        self.stdout, stdout = os.pipe()
        theirs.append(stdout)
        self.stderr, stderr = os.pipe()
        theirs.append(stderr)

    def _watched(self, command: str, cwd: Path) -> ExitWatch:
        try:
            return watch_exit(self.pid)
        except OSError as error:  # no descriptor is left: a process that nobody can watch must not run
            self.kill()
            self._process.wait()
            self._close_pipes()
            raise _not_started(command, cwd, error) from error

    def _send_first(self, first_input: bytes) -> int:
        if len(first_input) > _PIPE_BUF:
            os.set_blocking(self.stdin, False)
        return os.write(self.stdin, first_input) if first_input else 0

    def exit_status(self) -> int | None:
        """The exit status as subprocess gives it (negative: ended by that signal), None while it runs."""
        if self._process.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

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
        self._close_pipes()

    def _close_pipes(self) -> None:
        self.close_stdin()
        _close_all([fd for fd in (self.stdout, self.stderr) if fd >= 0])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _start(argv: Sequence[str], env: Mapping[bytes, bytes], cwd: Path, stdio: Sequence[int]) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = stdio
    with _oom_preference.raised():
        return subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, start_new_session=True
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


def grow_pipe(fd: int) -> None:
    """Let a pipe that carries much hold 1 MiB, so that it is turned over less often."""
    with suppress(OSError, ImportError, AttributeError):
        from fcntl import F_SETPIPE_SZ, fcntl  # noqa: PLC0415 - Linux only

        fcntl(fd, F_SETPIPE_SZ, 1024 * 1024)
