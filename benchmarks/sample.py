"""One measurement of one row, and what several of them come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import Case
from benchmarks.rows import SDK_PROCESSES
from benchmarks.statistics import Spread, ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Times in seconds, memory in bytes, shares between 0 and 1.

    The percentiles are of the time from a job's hand-out to its whole result. `worker_cpu` is what the worker and
    its handlers used for each job; `memory` their PSS; `runtime_busy` how much of a core the runtime used;
    `elsewhere` how much of all cores processes used that do not belong to the benchmark. What a row does not have
    is None: the fork floor polls nobody.
    """

    row: str
    case: Case
    round: int
    jobs: int
    wrong: int
    jobs_per_second: float
    p50: float
    p90: float
    p99: float
    elsewhere: float
    first_poll: float | None = None
    worker_cpu: float | None = None
    memory: int | None = None
    runtime_busy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of a table: the medians over the rounds, with their spread. `times_sdk` compares jobs per second."""

    row: str
    jobs_per_second: Spread
    p50: Spread
    p90: Spread
    p99: Spread
    wrong: int
    first_poll: Spread | None
    worker_cpu: Spread | None
    memory: Spread | None
    runtime_busy: Spread | None
    times_sdk: Spread | None


class Samples:
    """All measurements of a run."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.all = list(samples)

    def cases(self) -> list[Case]:
        """The cases that were measured, in order."""
        return list(dict.fromkeys(sample.case for sample in self.all))

    def entries(self, case: Case) -> list[Entry]:
        """One entry a row, in the order in which they are first met."""
        rows = dict.fromkeys(sample.row for sample in self.all if sample.case == case)
        return [self._entry(case, row) for row in rows]

    def of(self, case: Case, row: str) -> list[Sample]:
        """One row's measurements, by round."""
        found = [sample for sample in self.all if sample.case == case and sample.row == row]
        return sorted(found, key=lambda sample: sample.round)

    def _entry(self, case: Case, row: str) -> Entry:
        samples = self.of(case, row)
        return Entry(
            row=row,
            jobs_per_second=Spread.of([s.jobs_per_second for s in samples]),
            p50=Spread.of([s.p50 for s in samples]),
            p90=Spread.of([s.p90 for s in samples]),
            p99=Spread.of([s.p99 for s in samples]),
            wrong=sum(s.wrong for s in samples),
            first_poll=_spread([s.first_poll for s in samples]),
            worker_cpu=_spread([s.worker_cpu for s in samples]),
            memory=_spread([s.memory for s in samples]),
            runtime_busy=_spread([s.runtime_busy for s in samples]),
            times_sdk=self.ratio(case, row, SDK_PROCESSES),
        )

    def ratio(self, case: Case, row: str, base: str) -> Spread | None:
        """How many times the jobs per second of `base` a row does, round by round; None without common rounds."""
        rate = {s.round: s.jobs_per_second for s in self.of(case, row)}
        other = {s.round: s.jobs_per_second for s in self.of(case, base)}
        rounds = sorted(rate.keys() & other.keys())
        return ratios([rate[r] for r in rounds], [other[r] for r in rounds]) if rounds else None


def _spread(values: Sequence[float | None]) -> Spread | None:
    there = [value for value in values if value is not None]
    return Spread.of(there) if there else None
