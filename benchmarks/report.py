"""The results of a run as tables and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import Case, size_text
from benchmarks.measure import DISTURBED, Idle
from benchmarks.rows import FORK_FLOOR, NAMES, PERSISTENT, PRESPAWN, SDK_PROCESSES, SPAWN, TLS_FLOOR
from benchmarks.runtime_process import Loaded
from benchmarks.sample import Entry, Samples
from benchmarks.statistics import Spread
from benchmarks.table import Table

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a run has found. `ceilings` is what the runtime itself can do, by the query's size."""

    samples: Samples
    idle: Sequence[Idle]
    ceilings: dict[int, Loaded]

    def tables(self) -> list[Table]:
        """A table a case, then start and idle, then the runtime's ceiling."""
        tables = [self._case(case) for case in self.samples.cases()]
        tables.append(self._start())
        if self.idle:
            tables.append(self._idle())
        if self.ceilings:
            tables.append(self._ceiling())
        return tables

    def sentences(self) -> list[str]:
        """What the tables come to."""
        return [*self._ratios(), *self._start_ratio(), *self._against_floors(), *self._prespawn(), *self._disturbance()]

    def _case(self, case: Case) -> Table:
        heads = (
            "",
            "jobs/s",
            "low to high",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "CPU ms/job",
            "MiB",
            "runtime busy",
            "times SDK",
        )
        return Table.of(case.title, heads, [_case_cells(entry) for entry in self.samples.entries(case)])

    def _start(self) -> Table:
        rows = [
            (NAMES[row], f"{spread.median * 1000:.0f}", f"{spread.low * 1000:.0f} to {spread.high * 1000:.0f}")
            for row, spread in self._first_polls().items()
        ]
        return Table.of("start to first poll", ("", "ms", "low to high"), rows)

    def _first_polls(self) -> dict[str, Spread]:
        """In seconds, by row, over all echo cases."""
        polls: dict[str, list[float]] = {}
        for sample in self.samples.all:
            if sample.first_poll is not None and sample.case.task == "echo":
                polls.setdefault(sample.row, []).append(sample.first_poll)
        order = [row for row in NAMES if row in polls]
        return {row: Spread.of(polls[row]) for row in order}

    def _idle(self) -> Table:
        rows = [(NAMES[idle.row], f"{idle.cpu:.2%}", f"{idle.memory / MIB:.1f}") for idle in self.idle]
        return Table.of("idle, concurrency 4", ("", "of a core", "MiB (PSS)"), rows)

    def _ceiling(self) -> Table:
        rows = []
        for size, loaded in self.ceilings.items():
            busy = loaded.runtime_cpu / loaded.elapsed
            rate = loaded.jobs_per_second
            rows.append(
                (size_text(size), _number(rate), f"{busy:.0%}", f"{1000 * busy / rate:.3f}", _number(rate / busy))
            )
        heads = ("", "jobs/s reached", "of a core", "ms CPU/job", "jobs/s at a full core")
        return Table.of("the benchmark's runtime, with several bare clients", heads, rows)

    def _ratios(self) -> list[str]:
        lines = []
        for mode in (SPAWN, PRESPAWN, PERSISTENT):
            for shape, cases in _by_shape(self.samples.cases()).items():
                ratios = [(case, self.samples.ratio(case, mode, SDK_PROCESSES)) for case in cases]
                parts = [f"{ratio.median:.2f} at concurrency {case.concurrency}" for case, ratio in ratios if ratio]
                if parts:
                    lines.append(f"mode {mode}, {shape}: {', '.join(parts)} times the Python SDK's jobs per second.")
        return lines

    def _start_ratio(self) -> list[str]:
        polls = self._first_polls()
        if SPAWN not in polls or SDK_PROCESSES not in polls:
            return []
        ratio = polls[SPAWN].median / polls[SDK_PROCESSES].median
        return [f"start to first poll takes {ratio:.2f} of the Python SDK's time."]

    def _against_floors(self) -> list[str]:
        lines = []
        for case in (case for case in self.samples.cases() if case.task == "echo" and case.size == 64):
            entries = {entry.row: entry for entry in self.samples.entries(case)}
            if {SPAWN, FORK_FLOOR, TLS_FLOOR} <= entries.keys():
                floor = entries[FORK_FLOOR].p50.median + entries[TLS_FLOOR].p50.median
                ratio = entries[SPAWN].p50.median / floor
                lines.append(
                    f"spawn's p50 is {ratio:.2f} times both floors' together at concurrency {case.concurrency}."
                )
            share = self.samples.ratio(case, PERSISTENT, TLS_FLOOR)
            if share is not None:
                lines.append(
                    f"persistent does {share.median:.2f} of the bare TLS loop's jobs per second "
                    f"at concurrency {case.concurrency}."
                )
        return lines

    def _prespawn(self) -> list[str]:
        lines = []
        for case in (case for case in self.samples.cases() if case.pause):
            entries = {entry.row: entry for entry in self.samples.entries(case)}
            if {SPAWN, PRESPAWN} <= entries.keys():
                ratio = entries[PRESPAWN].p50.median / entries[SPAWN].p50.median
                lines.append(f"for a handler that imports numpy, prespawn's p50 is {ratio:.2f} of spawn's.")
        return lines

    def _disturbance(self) -> list[str]:
        if not self.samples.all:
            return []
        elsewhere = Spread.of([sample.elsewhere for sample in self.samples.all])
        line = f"other processes took {elsewhere.median:.0%} of the machine (at most {elsewhere.high:.0%})"
        return [f"{line}: the numbers are not to be trusted." if elsewhere.median > DISTURBED else f"{line}."]


def _case_cells(entry: Entry) -> tuple[str, ...]:
    rate = entry.jobs_per_second
    wrong = f" ({entry.wrong} WRONG)" if entry.wrong else ""
    return (
        NAMES[entry.row] + wrong,
        _number(rate.median),
        f"{_number(rate.low)} to {_number(rate.high)}",
        *(_milliseconds(spread.median) for spread in (entry.p50, entry.p90, entry.p99)),
        _milliseconds(entry.worker_cpu.median) if entry.worker_cpu else "",
        f"{entry.memory.median / MIB:.0f}" if entry.memory else "",
        f"{entry.runtime_busy.median:.0%}" if entry.runtime_busy else "",
        f"{entry.times_sdk.median:.2f}" if entry.times_sdk else "",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _by_shape(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """The cases that differ in nothing but their concurrency, by what they have in common."""
    shapes: dict[str, list[Case]] = {}
    for case in cases:
        if not case.pause:
            shapes.setdefault(case.shape, []).append(case)
    return shapes
