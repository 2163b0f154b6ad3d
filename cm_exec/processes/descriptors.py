"""Descriptors with fixed numbers: 0, 1, 2, and 3 for results."""

import os
import resource
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

STDOUT: Final = 1
RESULT_FD: Final = 3

_placeholders: list[int] = []
"""Open on /dev/null for the life of the program: the first refills RESULT_FD, the others free low numbers."""

_LOW_NUMBERS: Final = 2  # subprocess opens one pipe of its own during a start

original_limit: int | None = None
"""The soft limit of descriptors that the launcher was started with, None if it was not raised."""


def reserve_descriptors() -> None:
    """Keep descriptors 0 to 3 away from pipes and sockets, and raise the soft limit of descriptors to the hard one.

    A closed stdin, stdout or stderr would otherwise give its number to the next pipe that is opened.
    """
    if _placeholders:
        return
    for number in (0, 1, 2):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    placeholder = os.open(os.devnull, os.O_RDWR)
    if placeholder != RESULT_FD:
        os.dup2(placeholder, RESULT_FD, inheritable=False)
        os.close(placeholder)
    _placeholders.extend(os.open(os.devnull, os.O_RDWR) for _ in range(1 + _LOW_NUMBERS))
    _raise_limit()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _raise_limit() -> None:
    global original_limit  # noqa: PLW0603 - a property of the process, set once at its start
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in {resource.RLIM_INFINITY, hard}:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        original_limit = soft


def set_soft_limit(soft: int) -> None:
    """Set the soft limit of descriptors and keep the hard one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@contextmanager
def low_numbers_free() -> Iterator[None]:
    """Free the reserved low descriptor numbers for a start under the original, lower limit."""
    for number in _placeholders[1:]:
        os.close(number)
    del _placeholders[1:]
    try:
        yield
    finally:
        with suppress(OSError):
            _placeholders.extend(os.open(os.devnull, os.O_RDWR) for _ in range(_LOW_NUMBERS))


@contextmanager
def result_descriptor(fd: int) -> Iterator[list[int]]:
    """Make RESULT_FD a duplicate of `fd` while a child is started; yield the value for `pass_fds`.

    subprocess passes descriptors under the numbers that they have in the launcher. A preexec_fn could move them in
    the child, but it disables vfork. dup2 onto an open number needs no free descriptor, so it cannot fail for want of
    one: before, RESULT_FD was lost once and later results came from another connection.
    """
    os.dup2(fd, RESULT_FD, inheritable=False)
    try:
        yield [RESULT_FD]
    finally:
        os.dup2(_placeholders[0], RESULT_FD, inheritable=False)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write everything, also to a non-blocking descriptor, as CI systems hand them out. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait(fd, select.POLLOUT)


def read_all(fd: int) -> bytes:
    """Read up to the end, also from a non-blocking descriptor. Raises OSError."""
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(fd, 1024 * 1024)
        except BlockingIOError:
            _wait(fd, select.POLLIN)
            continue
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _wait(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()
