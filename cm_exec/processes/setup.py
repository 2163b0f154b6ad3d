"""Prepare the launcher's own process before it opens or starts anything."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final

from cm_exec.processes.descriptors import reserve_descriptors

_PR_SET_CHILD_SUBREAPER: Final = 36
_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE_BUFFER: Final = 256 * 1024


def prepare_process() -> None:
    """Undo what the parent process may have set: a blocked signal mask, an ignored SIGCHLD, closed descriptors.

    An ignored SIGCHLD makes the kernel discard exit statuses, so that failures would look like successes. A blocked
    mask is inherited by handlers and makes all of them deaf to SIGTERM.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reserve_descriptors()


def become_subreaper() -> bool:
    """Adopt the orphans of handlers; return False where the system cannot do that (macOS, old gVisor)."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def limit_mmap_threshold() -> None:
    """Pin glibc's M_MMAP_THRESHOLD, so that freed large buffers return to the system.

    By default each freed large buffer raises the threshold, up to 32 MiB, and smaller buffers stay in the arena for
    good. Other C libraries (musl) do not need this.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BUFFER)


def has_pidfds() -> bool:
    """Return whether the kernel offers process file descriptors (Linux 5.3, not in gVisor)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True
