"""The ratios that cm-exec must reach, and what a run has measured of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from benchmarks import rows
from benchmarks.case import MIB, SMALL, Task
from benchmarks.sample import Sample, Samples
from benchmarks.statistics import Spread, ratios

Measure = Literal["jobs_per_second", "p50", "first_poll", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A ratio of a row to one or more other rows, whose values are added, and its limit.

    The ratio must be at least, or with `at_most` at most, `limit`. `base_concurrency` is that of the other rows if it
    differs. A target applies to machines with at least `cores` cores.
    """

    name: str
    row: str
    base: tuple[str, ...]
    concurrency: int
    limit: float
    measure: Measure = "jobs_per_second"
    task: Task = "echo"
    size: int = SMALL
    base_concurrency: int | None = None
    at_most: bool = False
    cores: int = 1


def _targets() -> Iterator[Target]:
    sdk, floors = (rows.SDK_PROCESSES,), (rows.FORK_FLOOR, rows.TLS_FLOOR)
    limit: float
    for c, limit in ((1, 7), (4, 8), (16, 8)):
        yield Target(name="persistent to the Python SDK", row=rows.PERSISTENT, base=sdk, concurrency=c, limit=limit)
    for c, limit in ((1, 0.42), (4, 0.42), (16, 0.5)):
        base = (rows.TLS_FLOOR,)
        yield Target(name="persistent to the bare TLS loop", row=rows.PERSISTENT, base=base, concurrency=c, limit=limit)
    same = (rows.PERSISTENT,)
    name = "persistent to itself with one job at a time"
    yield Target(name=name, row=rows.PERSISTENT, base=same, concurrency=16, base_concurrency=1, limit=1.1)
    for c, limit in ((1, 1.5), (4, 2), (16, 1.9)):
        yield Target(name="spawn to the Python SDK", row=rows.SPAWN, base=sdk, concurrency=c, limit=limit)
    name = "spawn's p50 to that of both floors"
    yield Target(name=name, row=rows.SPAWN, base=floors, concurrency=1, measure="p50", limit=1.35, at_most=True)
    name = "spawn to itself with one job at a time"
    yield Target(name=name, row=rows.SPAWN, base=(rows.SPAWN,), concurrency=4, base_concurrency=1, limit=3, cores=16)
    for c, limit in ((1, 3), (4, 2)):
        name = "8 MiB by spawn to the Python SDK"
        yield Target(name=name, row=rows.SPAWN, base=sdk, concurrency=c, size=8 * MIB, limit=limit)
    name = "start to first poll, to the Python SDK"
    yield Target(name=name, row=rows.SPAWN, base=sdk, concurrency=1, measure="first_poll", limit=0.95, at_most=True)
    for c in (1, 4, 16):
        name, base = "HTTP service to a bare loop with the same server", (rows.HTTP_FLOOR,)
        yield Target(name=name, row=rows.HTTP_SERVICE, base=base, concurrency=c, task="http", limit=0.6)
    name, base = "memory of one service process to the SDK's threads", (rows.SDK_THREADS,)
    yield Target(
        name=name, row=rows.SERVICE, base=base, concurrency=16, measure="memory", task="shared", limit=1.1, at_most=True
    )


TARGETS: Final = tuple(_targets())


@dataclass(frozen=True, slots=True)
class Comparison:
    """A target and the measured ratio, round by round."""

    target: Target
    ratio: Spread

    @property
    def is_reached(self) -> bool:
        limit = self.target.limit
        return self.ratio.median <= limit if self.target.at_most else self.ratio.median >= limit


def compare(samples: Samples, cores: int) -> Iterator[Comparison]:
    """Yield the targets whose rows were measured and that apply to a machine with so many cores."""
    for target in TARGETS:
        if cores < target.cores:
            continue
        values = _by_round(samples, target, target.row, target.concurrency)
        bases = [_by_round(samples, target, row, target.base_concurrency or target.concurrency) for row in target.base]
        rounds = sorted(values.keys() & set.intersection(*(set(base) for base in bases)))
        if rounds:
            divisors = [sum(base[number] for base in bases) for number in rounds]
            yield Comparison(target, ratios([values[number] for number in rounds], divisors))


def _by_round(samples: Samples, target: Target, row: str, concurrency: int) -> dict[int, float]:
    """Return the value of each round: the median where several cases of the round have one."""
    values: dict[int, list[float]] = {}
    shape = (target.task, target.size, concurrency, "text", 0.0)
    found = samples.starts() if target.measure == "first_poll" else _of_shape(samples, shape, target.measure)
    for sample, value in found:
        if sample.row == row:
            values.setdefault(sample.round, []).append(value)
    return {number: median(several) for number, several in values.items()}


def _of_shape(samples: Samples, shape: tuple[object, ...], measure: Measure) -> Iterator[tuple[Sample, float]]:
    for sample in samples.all:
        case, value = sample.case, getattr(sample, measure)
        if value is not None and (case.task, case.size, case.concurrency, case.kind, case.pause) == shape:
            yield sample, value
