"""The CPU time and memory of a tree of processes, from /proc."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`cpu` in seconds since the start, including reaped children; memory in bytes.

    `resident` is that of the root process with its shared pages; `proportional` (PSS) is that of the whole tree with
    shared pages counted once, so that forked workers are not charged twice.
    """

    cpu: float
    resident: int
    proportional: int
    processes: int


def usage(root: int) -> Usage:
    """Read the usage of the tree below the process `root`. Raises FileNotFoundError if it is gone."""
    resident = _kib(root, "Rss")
    members = list(_tree(root))
    return Usage(
        cpu=sum(cpu_seconds(pid) for pid in members),
        resident=resident,
        proportional=sum(_kib(pid, "Pss", gone=0) for pid in members),
        processes=len(members),
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and the children that it reaped; 0 if it is gone.

    The time of its threads comes from the scheduler, in nanoseconds; that of reaped children in clock ticks.
    """
    try:
        running = sum(int((task / "schedstat").read_text().split()[0]) for task in (PROC / str(pid) / "task").iterdir())
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return running / 1e9 + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MachineClock:
    """The time that all cores together were busy, in seconds, at the time `now` of `time.monotonic`."""

    busy: float
    now: float

    @classmethod
    def read(cls) -> Self:
        """Read the clock. Idle time and waits for disks are not busy; time that the host took (steal) is."""
        fields = [int(field) for field in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
        return cls((sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), time.monotonic())

    def other_load(self, until: Self, own: float) -> float:
        """Return the share of all cores that others used, if this benchmark used `own` seconds."""
        cores = os.cpu_count() or 1
        return max(0.0, until.busy - self.busy - own) / (cores * max(until.now - self.now, 1e-6))


def children(pid: int) -> list[int]:
    """Return the direct children of a process: each thread has its own. A thread or process that is gone has none."""
    found: list[int] = []
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _tree(root: int) -> Iterator[int]:
    yield root
    for child in children(root):
        yield from _tree(child)


def _kib(pid: int, name: str, gone: int | None = None) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        if gone is None:
            raise
        return gone
    line = next((line for line in text.splitlines() if line.startswith(name + ":")), None)
    return int(line.split()[1]) * 1024 if line else 0
