"""One measurement of one row, and the summary of several."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import Case
from benchmarks.rows import SDK_PROCESSES
from benchmarks.statistics import Spread, ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement. Times in seconds, memory in bytes, shares between 0 and 1.

    The percentiles are of the time from a job's hand-out to its whole result. `worker_cpu` is the CPU time of the
    worker and its handlers per job, `memory` their PSS, `runtime_busy` the share of a core that the runtime used, and
    `other_load` the share of all cores that other processes used. A value is None if the row does not have it: the
    fork floor does not poll.
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
    other_load: float
    first_poll: float | None = None
    worker_cpu: float | None = None
    memory: int | None = None
    runtime_busy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A row of a table: medians over the rounds, with their spread. `times_sdk` compares jobs per second."""

    row: str
    jobs_per_second: Spread
    p50: Spread
    p90: Spread
    p99: Spread
    wrong: int
    worker_cpu: Spread | None
    memory: Spread | None
    runtime_busy: Spread | None
    times_sdk: Spread | None


class Samples:
    """All measurements of a run."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.all = list(samples)

    def cases(self) -> list[Case]:
        """Return the measured cases in order."""
        return list(dict.fromkeys(sample.case for sample in self.all))

    def starts(self) -> list[tuple[Sample, float]]:
        """Return those with a first poll, and its time: a worker starts in the same way for every size and load."""
        echoes = (sample for sample in self.all if sample.case.task == "echo")
        return [(sample, sample.first_poll) for sample in echoes if sample.first_poll is not None]

    def summaries(self, case: Case) -> list[Summary]:
        """Return one summary per row, in the order of the first measurements."""
        rows = dict.fromkeys(sample.row for sample in self.all if sample.case == case)
        return [self._summary(case, row) for row in rows]

    def of(self, case: Case, row: str) -> list[Sample]:
        """Return the measurements of one row by round."""
        found = [sample for sample in self.all if sample.case == case and sample.row == row]
        return sorted(found, key=lambda sample: sample.round)

    def _summary(self, case: Case, row: str) -> Summary:
        samples = self.of(case, row)
        return Summary(
            row=row,
            jobs_per_second=Spread.of([s.jobs_per_second for s in samples]),
            p50=Spread.of([s.p50 for s in samples]),
            p90=Spread.of([s.p90 for s in samples]),
            p99=Spread.of([s.p99 for s in samples]),
            wrong=sum(s.wrong for s in samples),
            worker_cpu=_spread([s.worker_cpu for s in samples]),
            memory=_spread([s.memory for s in samples]),
            runtime_busy=_spread([s.runtime_busy for s in samples]),
            times_sdk=ratio(samples, self.of(case, SDK_PROCESSES)),
        )


def ratio(samples: Sequence[Sample], base: Sequence[Sample]) -> Spread | None:
    """Divide the jobs per second of `samples` by those of `base`, round by round; None without common rounds."""
    rates = {sample.round: sample.jobs_per_second for sample in samples}
    divisors = {sample.round: sample.jobs_per_second for sample in base}
    rounds = sorted(rates.keys() & divisors.keys())
    return ratios([rates[r] for r in rounds], [divisors[r] for r in rounds]) if rounds else None


def _spread(values: Sequence[float | None]) -> Spread | None:
    present = [value for value in values if value is not None]
    return Spread.of(present) if present else None
