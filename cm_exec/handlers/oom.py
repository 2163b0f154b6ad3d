"""Handlers stand before the launcher in the kernel's choice of whom to kill when memory is out."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MORE: Final = 500  # of 1000: as if a handler held half of the memory in addition to its own
_MOST: Final = 1000


class OomPreference:
    """Lets processes be started with a higher `oom_score_adj` than the launcher's.

    The score is inherited, so it is raised around a start and put back after it: a process that lowers its score
    to where it stood needs no privilege. Setting it in the child would need code between fork and exec, setting it
    from outside would miss what the child forks first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd: int | None = None
        try:
            self._fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            own = int(os.pread(self._fd, 16, 0))
            self._own = str(own).encode()
            self._raised = str(min(_MOST, own + _MORE)).encode()
            with self.raised():
                pass
        except (OSError, ValueError):
            self._fd = None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """What is started inside is killed first."""
        if self._fd is None:
            yield
            return
        with self._lock:
            os.pwrite(self._fd, self._raised, 0)
            try:
                yield
            finally:
                os.pwrite(self._fd, self._own, 0)
