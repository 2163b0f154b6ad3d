"""A pipe at a certain descriptor of a child, such as 3.

subprocess passes descriptors under the numbers that they have in the launcher. Code between fork and exec could move
them, but it would cost vfork; so a descriptor is moved in the launcher for the moment of the start.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

STDOUT: Final = 1
RESULT_FD: Final = 3

_lock: Final = threading.Lock()


def reserve_result_fd() -> None:
    """Keep descriptor 3 free of anything that a thread uses. Called before the program opens anything."""
    placeholder = os.open(os.devnull, os.O_RDWR)
    if placeholder != RESULT_FD:
        os.dup2(placeholder, RESULT_FD, inheritable=False)
        os.close(placeholder)


@contextmanager
def descriptor_at(number: int, fd: int) -> Iterator[list[int]]:
    """Inside, `number` is a duplicate of `fd`; yields what to pass as `pass_fds`."""
    with _lock:
        before = None
        with suppress(OSError):
            before = os.dup(number)
        os.dup2(fd, number, inheritable=False)
        try:
            yield [number]
        finally:
            if before is None:
                os.close(number)
            else:
                os.dup2(before, number, inheritable=False)
                os.close(before)
