"""What a measurement gives, as values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cm_exec.config.types import Mode

_BUSY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The most that was seen, in bytes: the worker's, and that of all its handlers' processes together.

    Pages that several processes share are divided among them. None where the system does not tell.
    """

    worker: int | None = None
    handlers: int | None = None

    def peak(self, other: "Memory") -> "Memory":
        """The greater of both."""
        return Memory(worker=_greater(self.worker, other.worker), handlers=_greater(self.handlers, other.handlers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Latencies, in seconds, are from the hand-out of a job to its answer, with every slot busy.

    `alone` is the median latency of jobs that came one by one, with rests between them; None where that was not
    measured. `failed` jobs are in none of the other numbers, and `failure` is what the first of them said.
    `runtime_share` is how much of its one core the local runtime used meanwhile.
    """

    function: str
    mode: Mode
    slots: int
    jobs: int
    failed: int
    failure: str | None
    p50: float
    p90: float
    p99: float
    jobs_per_second: float
    alone: float | None
    memory: Memory
    runtime_share: float

    @property
    def runtime_was_busy(self) -> bool:
        """Whether the local runtime took so much of the time that the function could do more with another one."""
        return self.runtime_share > _BUSY

    @property
    def slot_time(self) -> float:
        """Seconds that a slot is taken by one job, on average: Little's law, with all slots busy."""
        return self.slots / self.jobs_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A step that failed, and why."""

    function: str
    mode: Mode
    slots: int
    why: str


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that at least `share` (0 to 1) of them do not exceed.

    So with few values a high percentile is the greatest. Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def throughput(latencies: Sequence[float], elapsed: float, slots: int) -> float:
    """Jobs per second, of jobs that ended within `elapsed` seconds of full load.

    By Little's law it is at most `slots` over the mean latency; with few, long jobs the mere count would say more,
    as most of their time may lie before the count began.
    """
    most = slots * len(latencies) / sum(latencies)
    return min(len(latencies) / elapsed, most) if elapsed > 0 else most


def _greater(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
