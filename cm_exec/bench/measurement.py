"""The values that a measurement yields."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cm_exec.config.model import Mode

_BUSY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory in bytes: of the worker, and of all its handlers' processes together.

    Pages that several processes share are divided among them. None where the system does not report it.
    """

    worker: int | None = None
    handlers: int | None = None

    def peak(self, other: "Memory") -> "Memory":
        """Return the greater value of each."""
        return Memory(worker=_greater(self.worker, other.worker), handlers=_greater(self.handlers, other.handlers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One function in one mode with one number of slots.

    Latencies are in seconds, from the hand-out of a job to its answer, with every slot busy. `unloaded_p50` is the
    median latency of jobs that came one by one, with pauses between them; None if that was not measured. `failed`
    counts jobs that no other number includes; `failure` is the message of the first. `runtime_share` is the share
    of one core that the local runtime used.
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
    unloaded_p50: float | None
    memory: Memory
    runtime_share: float

    @property
    def runtime_was_busy(self) -> bool:
        """Report whether the local runtime was so busy that it may have limited the function."""
        return self.runtime_share > _BUSY

    @property
    def slot_time(self) -> float:
        """Return the average seconds that one job occupies a slot: Little's law, with all slots busy."""
        return self.slots / self.jobs_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedMeasurement:
    """A step that failed, and the reason."""

    function: str
    mode: Mode
    slots: int
    why: str


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed.

    With few values a high percentile is therefore the maximum. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def throughput(latencies: Sequence[float], elapsed: float, slots: int) -> float:
    """Return the jobs per second, for jobs that ended within `elapsed` seconds of full load.

    By Little's law this is at most `slots` over the mean latency. The plain count would be too high for few, long
    jobs: most of their time may lie before the count began.
    """
    most = slots * len(latencies) / sum(latencies)
    return min(len(latencies) / elapsed, most) if elapsed > 0 else most


def _greater(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
