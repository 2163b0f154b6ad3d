"""Memory that was needed for one large job is given back after it."""

import ctypes
from contextlib import suppress
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE: Final = 256 * 1024


def give_back_large_buffers() -> None:
    """Keep glibc from learning large buffers by heart.

    Each large buffer that is freed raises the size from which glibc maps memory apart, up to 32 MiB; what is below
    stays in the arenas of the threads for good. Setting the size stops that. Elsewhere (musl) nothing is needed.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
