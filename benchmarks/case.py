"""The cases of a run: task, size of the query, concurrency and pace."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmarks.payload import Kind

Task = Literal["echo", "numpy", "http", "shared"]
TASKS: Final[dict[Task, str]] = {
    "echo": "echo",
    "numpy": "a Python handler that imports numpy",
    "http": "echo by an HTTP server",
    "shared": "echo by a Python handler that keeps 300 MiB",
}
"""The tasks with their names in tables."""

KIB: Final = 1024
MIB: Final = 1024 * 1024
SMALL: Final = 64
LARGE: Final = 32_000_000
"""The 32 MB query, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One load, put on each row in turn, `rounds` times.

    A measurement takes `seconds`, and longer if needed for `min_jobs` answers. The first `warmup` jobs do not count.
    `size` is that of the query, in bytes. With a `pause`, in seconds, the next job comes that long after an answer:
    only then does a row show what it prepares between two jobs.
    """

    task: Task
    size: int
    concurrency: int
    kind: Kind = "text"
    seconds: float
    warmup: int
    min_jobs: int
    rounds: int
    pause: float = 0.0

    @property
    def key(self) -> str:
        """The name for `--case`, such as `echo-64B-c16`."""
        extras = ("-records" if self.kind == "records" else "") + ("-paced" if self.pause else "")
        return f"{self.task}-{size_text(self.size).replace(' ', '')}{extras}-c{self.concurrency}"

    @property
    def title(self) -> str:
        records = " of small records" if self.kind == "records" else ""
        pace = f", {self.pause:g} s between jobs" if self.pause else ""
        return f"{TASKS[self.task]}, {size_text(self.size)}{records}, concurrency {self.concurrency}{pace}"


def size_text(size: int) -> str:
    """Format a size: 64 B, 64 KiB, 32 MB."""
    for unit, name in ((MIB, "MiB"), (1_000_000, "MB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def full() -> list[Case]:
    """Return all cases; they take about 20 minutes."""
    small = [_small(concurrency, seconds=2.0, rounds=5) for concurrency in (1, 4, 16)]
    medium = [replace(case, size=64 * KIB, rounds=3) for case in small]
    big = [
        Case(task="echo", size=8 * MIB, concurrency=c, seconds=2.0, warmup=c, min_jobs=2 * c, rounds=5)
        for c in (1, 4, 16)
    ]
    http = [replace(case, task="http") for case in small]
    shared = replace(small[-1], task="shared")
    numpy = [
        Case(task="numpy", size=SMALL, concurrency=c, seconds=2.0, warmup=5 * c, min_jobs=10, rounds=5) for c in (1, 4)
    ]
    paced = Case(task="numpy", size=SMALL, concurrency=1, seconds=0.0, warmup=2, min_jobs=12, rounds=3, pause=0.4)
    huge = Case(task="echo", size=LARGE, concurrency=1, seconds=0.0, warmup=1, min_jobs=3, rounds=3)
    return [*small, *medium, *big, *http, shared, *numpy, paced, huge, replace(huge, kind="records")]


def quick() -> list[Case]:
    """Return the small echo at each concurrency; it takes about a minute and a half."""
    return [_small(concurrency, seconds=0.7, rounds=3) for concurrency in (1, 4, 16)]


def _small(concurrency: int, *, seconds: float, rounds: int) -> Case:
    return Case(
        task="echo", size=SMALL, concurrency=concurrency, seconds=seconds, warmup=50, min_jobs=100, rounds=rounds
    )
