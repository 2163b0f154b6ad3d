"""Attributes that a child inherits at its start and that the launcher itself must not keep.

A preexec_fn could set them in the child, but it disables vfork, and to set them from outside misses what the child
forks first. The launcher starts children on one thread only, so it sets them on itself for the moment of the start.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

from cm_exec.processes import descriptors

_MORE: Final = 500  # of 1000: as if a handler used half of the memory in addition to its own
_MOST: Final = 1000

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
        _oom_scores = str(own).encode(), str(min(_MOST, own + _MORE)).encode()
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
        if descriptors.original_limit is None or not lower_limit:
            yield
            return
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        with descriptors.low_numbers_free():
            descriptors.set_soft_limit(descriptors.original_limit)
            try:
                yield
            finally:
                descriptors.set_soft_limit(raised)
    finally:
        if _oom_score_fd is not None:
            os.pwrite(_oom_score_fd, _oom_scores[0], 0)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_RTTIME, before)
