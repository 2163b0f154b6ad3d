"""The memory of a worker and of its handlers, from /proc."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cm_exec.bench.measurement import Memory

_PROC: Final = Path("/proc")
_INTERVAL: Final = 0.2
"""Seconds between samples: each takes a millisecond or two from what is measured."""


def memory_of(worker: int) -> Memory:
    """Return the current memory of a worker's process and of its descendants."""
    own_command = _command(worker)
    # until exec a child shares all memory with the worker: its command line is still the worker's
    sizes = [_proportional(pid) for pid in _descendants(worker) if _command(pid) != own_command]
    known = [size for size in sizes if size is not None]
    return Memory(worker=_proportional(worker), handlers=sum(known) if known else None)


class MemoryWatch(threading.Thread):
    """Samples a worker's memory at intervals, inside its context, and keeps the `peak`."""

    def __init__(self, worker: int) -> None:
        super().__init__(name="memory", daemon=True)
        self._worker = worker
        self._ended = threading.Event()
        self.peak = Memory()

    def run(self) -> None:
        """Sample until the context ends, at least once."""
        while not self._ended.wait(_INTERVAL):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        self.peak = self.peak.peak(memory_of(self._worker))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


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
    except OSError:  # the thread has exited, or the kernel does not report children
        return []


def _proportional(pid: int) -> int | None:
    """Return the resident bytes with shared pages divided among their users, or plain RSS if the kernel has no PSS."""
    place = _PROC / str(pid)
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with suppress(OSError):
            lines = (place / name).read_text().splitlines()
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)
    return None
