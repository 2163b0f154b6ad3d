"""Take resources from a running worker, and restore them."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def limited(pid: int, kind: int, soft: int) -> Iterator[None]:
    """Lower a soft limit of a process within the context."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, before)


@contextmanager
def descriptors_left(pid: int, number: int) -> Iterator[None]:
    """Limit a process to `number` descriptors besides those that it has open."""
    free = (fd for fd in range(1 << 20) if not Path(f"/proc/{pid}/fd/{fd}").is_symlink())
    soft = next(free)
    for _ in range(number):
        soft = next(free)
    with limited(pid, resource.RLIMIT_NOFILE, soft):
        yield


def address_space(pid: int) -> int:
    """Return the size of a process's address space in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
