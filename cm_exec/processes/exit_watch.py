"""Await the exit of child processes: by pidfd, or by SIGCHLD where the kernel has no pidfds."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

from cm_exec.processes.setup import has_pidfds

_HAS_PIDFDS: Final = has_pidfds()
_waiting: Final[dict[int, Callable[[], None]]] = {}


class ExitWatch:
    """Calls `on_exit` on the loop each time the process may have exited, until it is closed."""

    def __init__(self, pid: int) -> None:
        """Raise OSError when no descriptor is left."""
        self.pid = pid
        self._fd = os.pidfd_open(pid) if _HAS_PIDFDS else None

    def start(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
        """Begin to watch, or replace the callback."""
        if self._fd is not None:
            loop.add_reader(self._fd, on_exit)
            return
        _waiting[self.pid] = on_exit
        loop.add_signal_handler(signal.SIGCHLD, _child_exited)
        loop.call_soon(on_exit)  # it may have exited before the handler was there

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch no longer."""
        if self._fd is not None:
            loop.remove_reader(self._fd)
        _waiting.pop(self.pid, None)

    def close(self) -> None:
        """Close the pidfd."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _child_exited() -> None:
    for on_exit in list(_waiting.values()):
        on_exit()
