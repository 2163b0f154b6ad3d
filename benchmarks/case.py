"""What is measured: the tasks, sizes and concurrencies of a run."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmarks.payload import Kind

Task = Literal["echo", "numpy"]
TASKS: Final[tuple[Task, ...]] = ("echo", "numpy")

KIB: Final = 1024
MIB: Final = 1024 * 1024
LARGE: Final = 32_000_000
"""The 32 MB query, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One load, put on each row in turn, `rounds` times.

    A measurement goes on for `seconds` and at least `min_jobs` answers, after `warmup` jobs that do not count;
    `size` is the query's, in bytes. With a `pause`, in seconds, the next job comes only so long after an answer: what
    a mode prepares between two jobs shows there, and in no row of jobs without a break.
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
    def shape(self) -> str:
        """All but the concurrency and the pace, in words."""
        records = "" if self.kind == "text" else " of small records"
        handler = "echo" if self.task == "echo" else "a Python handler that imports numpy"
        return f"{handler}, {size_text(self.size)}{records}"

    @property
    def title(self) -> str:
        pace = f", {self.pause:g} s between jobs" if self.pause else ""
        return f"{self.shape}, concurrency {self.concurrency}{pace}"


def size_text(size: int) -> str:
    """A size as people write it: 64 B, 64 KiB, 32 MB."""
    for unit, name in ((MIB, "MiB"), (1_000_000, "MB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def full() -> list[Case]:
    """Everything, in a quarter of an hour."""
    small = [_small(concurrency, seconds=2.0, rounds=5) for concurrency in (1, 4, 16)]
    medium = [replace(case, size=64 * KIB, rounds=3) for case in small]
    big = [
        Case(task="echo", size=8 * MIB, concurrency=c, seconds=2.0, warmup=c, min_jobs=2 * c, rounds=3)
        for c in (1, 4, 16)
    ]
    numpy = [
        Case(task="numpy", size=64, concurrency=c, seconds=2.0, warmup=5 * c, min_jobs=10, rounds=5) for c in (1, 4)
    ]
    paced = Case(task="numpy", size=64, concurrency=1, seconds=0.0, warmup=2, min_jobs=12, rounds=3, pause=0.4)
    return [*small, *medium, *big, *numpy, paced, *_large(rounds=3)]


def quick() -> list[Case]:
    """The cases that matter most, in about a minute."""
    return [_small(concurrency, seconds=1.0, rounds=3) for concurrency in (1, 4)]


def _small(concurrency: int, *, seconds: float, rounds: int) -> Case:
    return Case(task="echo", size=64, concurrency=concurrency, seconds=seconds, warmup=50, min_jobs=100, rounds=rounds)


def _large(rounds: int) -> list[Case]:
    text = Case(task="echo", size=LARGE, concurrency=1, seconds=0.0, warmup=1, min_jobs=3, rounds=rounds)
    return [text, replace(text, kind="records")]
