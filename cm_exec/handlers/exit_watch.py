"""A descriptor that becomes readable when a child process ends."""

import os
import threading
from contextlib import suppress
from typing import Final, Protocol


class ExitWatch(Protocol):
    """What a selector waits on for the end of one process."""

    def fileno(self) -> int:
        """The descriptor to select for reading: readable means that it is worth asking for the exit status."""
        ...

    def acknowledge(self) -> None:
        """Forget what has been seen: the process was asked for and still runs."""
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class PidfdWatch:
    """The kernel's own: a process file descriptor (Linux 5.3)."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def fileno(self) -> int:
        """The pidfd."""
        return self._fd

    def acknowledge(self) -> None:
        """Nothing to forget: a pidfd is readable only when the process has ended."""

    def close(self) -> None:
        """Close the pidfd."""
        os.close(self._fd)


class SigchldWatch:
    """For systems without pidfds (macOS, gVisor, old seccomp profiles): woken at each SIGCHLD."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self.wake()  # the process may have ended before anybody watched
        with _lock:
            _watches.add(self)

    def fileno(self) -> int:
        """The reading end of a pipe."""
        return self._read

    def wake(self) -> None:
        """Say that some child has ended."""
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def acknowledge(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Be woken no more."""
        with _lock:
            _watches.discard(self)
        os.close(self._read)
        os.close(self._write)


_lock: Final = threading.Lock()
_watches: Final[set[SigchldWatch]] = set()


def announce_exits() -> None:
    """Wake every watch that cannot see the end of its process by itself. Called on SIGCHLD, not in its handler."""
    with _lock:
        for watch in _watches:
            watch.wake()


def has_pidfds() -> bool:
    """Whether the ends of processes can be seen without SIGCHLD."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def watch_exit(pid: int) -> ExitWatch:
    """The best watch there is for a child of this process."""
    try:
        return PidfdWatch(pid)
    except (OSError, AttributeError):
        return SigchldWatch()
