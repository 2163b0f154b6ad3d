"""The launcher's own process: its descriptors and signals, and the attributes that a child inherits at its start.

A preexec_fn could set a child's attributes in the child, but it disables vfork, and to set them from outside misses
what the child forks first. The launcher starts children on one thread only, so it sets them on itself for the moment
of the start.
"""

import ctypes
import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
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


def _set_soft_limit(soft: int) -> None:
    """Set the soft limit of descriptors and keep the hard one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@contextmanager
def _low_numbers_free() -> Iterator[None]:
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


_HANDLER_OOM_SCORE: Final = 500  # of 1000: as if a handler used half of the memory in addition to its own
_MAX_OOM_SCORE: Final = 1000

_TAG_BASE: Final = 2**52
"""Microseconds, 142 years: a limit on uninterrupted real-time CPU use that no process ever meets."""

_tags: Final = count(1)
_oom_score_fd: int | None = None
_oom_scores: tuple[bytes, bytes] = (b"", b"")


def new_tag() -> int:
    """Return a number that marks the processes of one handler process; see `process_tag`."""
    return _TAG_BASE + next(_tags)


def process_tag(pid: int) -> int | None:
    """Return the tag that a process inherited, None if it has none.

    The tag is the soft limit RLIMIT_RTTIME. Each child inherits it, whatever its environment, session or process
    group is; only a privileged process or one that sets this very limit loses it. Raises OSError.
    """
    with open(f"/proc/{pid}/limits", "rb") as limits:  # noqa: PTH123 - this is on the way of a job
        for line in limits:
            if line.startswith(b"Max realtime timeout"):
                soft = line.split()[3]
                return int(soft) if soft.isdigit() else None
    return None


def prefer_for_oom() -> None:
    """Make the OOM killer prefer handlers over the launcher, from now on.

    A process that lowers its score to its former value needs no privilege.
    """
    global _oom_score_fd, _oom_scores  # noqa: PLW0603 - a property of the process
    if _oom_score_fd is not None:
        return
    with suppress(OSError, ValueError):
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        own = int(os.pread(fd, 16, 0))
        _oom_scores = str(own).encode(), str(min(_MAX_OOM_SCORE, own + _HANDLER_OOM_SCORE)).encode()
        os.pwrite(fd, _oom_scores[1], 0)
        os.pwrite(fd, _oom_scores[0], 0)
        _oom_score_fd = fd


@contextmanager
def attributes_of_child(tag: int, *, lower_limit: bool = True) -> Iterator[None]:
    """Give what is started inside the tag, a higher OOM score and the launcher's original limit of descriptors."""
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    with suppress(OSError, ValueError):  # a hard limit below the tag: the session identifies the processes then
        resource.setrlimit(resource.RLIMIT_RTTIME, (tag, before[1]))
    if _oom_score_fd is not None:
        os.pwrite(_oom_score_fd, _oom_scores[1], 0)
    try:
        if original_limit is None or not lower_limit:
            yield
            return
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        with _low_numbers_free():
            _set_soft_limit(original_limit)
            try:
                yield
            finally:
                _set_soft_limit(raised)
    finally:
        if _oom_score_fd is not None:
            os.pwrite(_oom_score_fd, _oom_scores[0], 0)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_RTTIME, before)


def cpu_count() -> int:
    """Return the number of CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
