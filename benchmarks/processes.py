"""What a tree of processes uses, from /proc."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`cpu` in seconds since their start, with the children that were waited for; memory in bytes.

    `resident` is the root process alone, its shared pages and all; `proportional` is the whole tree with shared
    pages counted once (PSS), so that forked workers are not charged twice for what they share.
    """

    cpu: float
    resident: int
    proportional: int
    processes: int


def usage(root: int) -> Usage:
    """Read the tree that starts at the process `root`. Raises FileNotFoundError when that is gone."""
    resident = _kib(root, "Rss")
    members = list(_tree(root))
    return Usage(
        cpu=sum(cpu_seconds(pid) for pid in members),
        resident=resident,
        proportional=sum(_kib(pid, "Pss", gone=0) for pid in members),
        processes=len(members),
    )


def cpu_seconds(pid: int) -> float:
    """What a process and the children that it waited for have used; 0 when it is gone.

    Its threads' time is the scheduler's, in nanoseconds there; its dead children's is in clock ticks.
    """
    try:
        running = sum(int((task / "schedstat").read_text().split()[0]) for task in (PROC / str(pid) / "task").iterdir())
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return running / 1e9 + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MachineClock:
    """How long all cores have been busy, in seconds; `now` is `time.monotonic`'s."""

    busy: float
    now: float

    @classmethod
    def read(cls) -> Self:
        """Busy is all but idle and waiting for disks; time that the host took away (steal) counts too."""
        fields = [int(field) for field in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
        return cls((sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), time.monotonic())

    def elsewhere(self, until: Self, own: float) -> float:
        """The share of all cores that went to others than us, who used `own` seconds of them."""
        cores = os.cpu_count() or 1
        return max(0.0, until.busy - self.busy - own) / (cores * max(until.now - self.now, 1e-6))


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        children = [
            int(child)
            for task in (PROC / str(root) / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
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
