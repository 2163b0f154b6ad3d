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
    """Keep descriptor 3 free of anything that a thread uses. Called before the program opens anything.

    Of stdin, stdout and stderr, too: where one is closed, its number would go to the next pipe that is opened.
    """
    for usual in (0, 1, 2):
        if not _is_open(usual):
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    placeholder = os.open(os.devnull, os.O_RDWR)
    if placeholder != RESULT_FD:
        os.dup2(placeholder, RESULT_FD, inheritable=False)
        os.close(placeholder)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


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
