"""The memory of a worker and of its handlers, from /proc."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cm_exec.bench.measurement import Memory

_PROC: Final = Path("/proc")
_EVERY: Final = 0.2
"""Seconds between looks: each takes a millisecond or two from what is measured."""


def memory_of(worker: int) -> Memory:
    """What the process and those beneath it use now."""
    below = [_proportional(pid) for pid in _descendants(worker) if not _is_starting(pid, worker)]
    seen = [size for size in below if size is not None]
    return Memory(worker=_proportional(worker), handlers=sum(seen) if seen else None)


class MemoryWatch(threading.Thread):
    """Looks at a worker's memory every now and then, inside its context."""

    def __init__(self, worker: int) -> None:
        super().__init__(name="memory", daemon=True)
        self._worker = worker
        self._ended = threading.Event()
        self.peak = Memory()

    def run(self) -> None:
        """See threading.Thread."""
        while not self._ended.wait(_EVERY):
            self._look()
        self._look()  # one at least, however late this thread gets its turn

    def _look(self) -> None:
        self.peak = self.peak.peak(memory_of(self._worker))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _is_starting(pid: int, worker: int) -> bool:
    """Whether the process has not been replaced by its command yet, and shares all memory with the worker."""
    return _command(pid) == _command(worker)


def _command(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in _children(task):
                yield child
                yield from _descendants(child)


def _children(task: Path) -> list[int]:
    try:
        return [int(child) for child in (task / "children").read_text().split()]
    except OSError:  # the thread is gone, or the kernel does not tell
        return []


def _proportional(pid: int) -> int | None:
    """Resident bytes, shared pages divided among those who share them; where the kernel cannot, all of them."""
    place = _PROC / str(pid)
    try:
        lines = (place / "smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident(place)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _resident(place: Path) -> int | None:
    try:
        lines = (place / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)
