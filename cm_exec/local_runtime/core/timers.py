"""What is due when, by job."""

import heapq
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

_KEPT: Final = 2000
"""Timers of ended jobs are swept out together, when there are more than these beyond two for each open job."""


class Timer(Enum):
    """What a job's timer is for."""

    GIVE_UP = auto()
    """The caller waits no longer."""
    UNANSWERED = auto()
    """The worker should have answered, even if late."""


@dataclass(slots=True)
class Timers:
    """Times are in seconds since the epoch."""

    _heap: list[tuple[float, int, Timer, str]] = field(default_factory=list)
    _sequence: int = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, timer: Timer, job_id: str) -> None:
        """Let a timer of a job be due at this time."""
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, timer, job_id))

    def next(self) -> float | None:
        """Return when the next one is due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[tuple[Timer, str]]:
        """Take out what is due, the earliest first."""
        while self._heap and self._heap[0][0] <= now:
            _, _, timer, job_id = heapq.heappop(self._heap)
            yield timer, job_id

    def sweep(self, *open_jobs: Container[str], count: int) -> None:
        """Drop the timers of jobs that are in none of these, `count` jobs in all, when they pile up."""
        if len(self._heap) > _KEPT + 2 * count:
            self._heap = [entry for entry in self._heap if any(entry[3] in jobs for jobs in open_jobs)]
            heapq.heapify(self._heap)
