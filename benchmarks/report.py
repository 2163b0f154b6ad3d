"""The results of a run as tables and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import size_text
from benchmarks.measure import DISTURBED, IdleUsage
from benchmarks.rows import NAMES, PRESPAWN, SPAWN
from benchmarks.runtime_process import Measurement
from benchmarks.sample import Samples, Summary
from benchmarks.statistics import Spread
from benchmarks.table import Table
from benchmarks.targets import compare

MIB = 2**20

_COLUMNS = (
    *("", "jobs/s", "low to high", "p50 ms", "p90 ms", "p99 ms"),
    *("CPU ms/job", "MiB", "runtime busy", "times SDK"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of a run on a machine with `cores` cores. `ceilings` are the runtime's own rates by query size."""

    samples: Samples
    idle: Sequence[IdleUsage]
    ceilings: dict[int, Measurement]
    cores: int

    def tables(self) -> list[Table]:
        """Return the ratios, one table per case, then start, idle usage and the runtime's own rates."""
        cases = [
            Table.of(case.title, _COLUMNS, [_cells(summary) for summary in self.samples.summaries(case)])
            for case in self.samples.cases()
        ]
        tables = [self._ratios(), *cases, self._start(), self._idle(), self._ceiling()]
        return [table for table in tables if table.rows]

    def sentences(self) -> list[str]:
        """Return what the tables do not show: prespawn beside spawn, and other load on the machine."""
        return [*self._prespawn(), *self._disturbance()]

    def _ratios(self) -> Table:
        rows = []
        for comparison in compare(self.samples, self.cores):
            target, ratio = comparison.target, comparison.ratio
            concurrency = f"{target.concurrency} / {target.base_concurrency}"
            limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
            rows.append(
                (
                    target.name,
                    concurrency if target.base_concurrency else str(target.concurrency),
                    f"{ratio.median:.2f}",
                    f"{ratio.low:.2f} to {ratio.high:.2f}",
                    limit if comparison.is_reached else f"{limit}: MISSED",
                )
            )
        return Table.of("ratios", ("", "concurrency", "ratio", "low to high", "target"), rows)

    def _start(self) -> Table:
        polls: dict[str, list[float]] = {}
        for sample, seconds in self.samples.starts():
            polls.setdefault(sample.row, []).append(1000 * seconds)
        spreads = {row: Spread.of(polls[row]) for row in NAMES if row in polls}
        rows = [
            (NAMES[row], f"{spread.median:.0f}", f"{spread.low:.0f} to {spread.high:.0f}")
            for row, spread in spreads.items()
        ]
        return Table.of("start to first poll", ("", "ms", "low to high"), rows)

    def _idle(self) -> Table:
        rows = [(NAMES[idle.row], f"{idle.cpu:.2%}", f"{idle.memory / MIB:.1f}") for idle in self.idle]
        return Table.of("idle, concurrency 4", ("", "of a core", "MiB (PSS)"), rows)

    def _ceiling(self) -> Table:
        rows = []
        for size, measurement in self.ceilings.items():
            busy = measurement.runtime_cpu / measurement.elapsed
            rate = measurement.jobs_per_second
            rows.append(
                (size_text(size), _number(rate), f"{busy:.0%}", f"{1000 * busy / rate:.3f}", _number(rate / busy))
            )
        columns = ("", "jobs/s reached", "of a core", "ms CPU/job", "jobs/s at a full core")
        return Table.of("the benchmark's runtime, with several bare clients", columns, rows)

    def _prespawn(self) -> list[str]:
        lines = []
        for case in (case for case in self.samples.cases() if case.pause):
            summaries = {summary.row: summary for summary in self.samples.summaries(case)}
            if {SPAWN, PRESPAWN} <= summaries.keys():
                ratio = summaries[PRESPAWN].p50.median / summaries[SPAWN].p50.median
                lines.append(f"for a handler that imports numpy, prespawn's p50 is {ratio:.2f} of spawn's.")
        return lines

    def _disturbance(self) -> list[str]:
        if not self.samples.all:
            return []
        load = Spread.of([sample.other_load for sample in self.samples.all])
        line = f"other processes took {load.median:.0%} of the machine (at most {load.high:.0%})"
        return [f"{line}: do not rely on these numbers." if load.median > DISTURBED else f"{line}."]


def _cells(summary: Summary) -> tuple[str, ...]:
    rate = summary.jobs_per_second
    wrong = f" ({summary.wrong} WRONG)" if summary.wrong else ""
    return (
        NAMES[summary.row] + wrong,
        _number(rate.median),
        f"{_number(rate.low)} to {_number(rate.high)}",
        *(_milliseconds(spread.median) for spread in (summary.p50, summary.p90, summary.p99)),
        _milliseconds(summary.worker_cpu.median) if summary.worker_cpu else "",
        f"{summary.memory.median / MIB:.0f}" if summary.memory else "",
        f"{summary.runtime_busy.median:.0%}" if summary.runtime_busy else "",
        f"{summary.times_sdk.median:.2f}" if summary.times_sdk else "",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _milliseconds(seconds: float) -> str:
    return _number(seconds * 1000)
