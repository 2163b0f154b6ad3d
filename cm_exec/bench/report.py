"""The result of a run: a table with bars for people, JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cm_exec import __version__
from cm_exec.bench.advice import USE, Advice
from cm_exec.bench.measurement import Measurement, NotMeasured
from cm_exec.bench.queries import Query, described
from cm_exec.cli.cores import cores
from cm_exec.cli.words import bar, bytes_text, count_text, duration_text, rate_text

_HEAD: Final = ("MODE", "SLOTS", "ALONE", "P50", "P90", "P99", "JOBS/S", "JOBS", "HANDLERS", "WORKER")
_LEFT: Final = 1
"""Columns of text; the others are numbers."""

_BAR: Final = 24
_LEAST_BAR: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of a run. `queries` is by function, of all functions of the plan; `seconds` is for each measurement."""

    queries: Mapping[str, Query]
    measured: Sequence[Measurement]
    failed: Sequence[NotMeasured]
    advice: Sequence[Advice]
    notes: Sequence[str]
    seconds: float
    interrupted: bool


def report_text(report: Report, *, columns: int, unicode: bool) -> str:
    """For people, in lines of `columns` characters where that can be."""
    blocks = ["\n".join(_block(report, name, columns, unicode=unicode)) for name in report.queries]
    return "\n\n".join([*(block for block in blocks if block), "\n".join(_closing(report))])


def _block(report: Report, name: str, columns: int, *, unicode: bool) -> Iterator[str]:
    measured = [m for m in report.measured if m.function == name]
    failed = [f for f in report.failed if f.function == name]
    if not measured and not failed:
        return
    yield f"{name}   {described(report.queries, name)}"
    if measured:
        yield from _table(measured, columns, unicode=unicode)
    for failure in failed:
        yield f"  {failure.mode}, {count_text(failure.slots, 'slot')}: not measured: {failure.why}"
    for advice in report.advice:
        if advice.function == name:
            yield from (f"  {'→' if unicode else '->'} {sentence}" for sentence in advice.sentences)


def _table(measured: Sequence[Measurement], columns: int, *, unicode: bool) -> Iterator[str]:
    rows = [_HEAD, *map(_row, measured)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    space = min(_BAR, columns - len(lines[0]) - 2)
    most = max(m.jobs_per_second for m in measured)
    yield lines[0]
    for line, m in zip(lines[1:], measured, strict=True):
        drawn = bar(m.jobs_per_second / most, space, unicode=unicode) if space >= _LEAST_BAR else ""
        yield f"{line}  {drawn}".rstrip()
    if space < _LEAST_BAR:
        yield from _chart(measured, most, unicode=unicode)


def _chart(measured: Sequence[Measurement], most: float, *, unicode: bool) -> Iterator[str]:
    """The bars beneath the table, where they do not fit beside it."""
    for m in measured:
        drawn = bar(m.jobs_per_second / most, _BAR, unicode=unicode)
        yield f"  {m.mode:10}  {m.slots:5}  {drawn.ljust(_BAR)}  {rate_text(m.jobs_per_second)} jobs/s"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  " + "  ".join(cells)


def _row(m: Measurement) -> tuple[str, ...]:
    return (
        m.mode,
        str(m.slots),
        "" if m.alone is None else duration_text(m.alone),
        duration_text(m.p50),
        duration_text(m.p90),
        duration_text(m.p99),
        ("*" if m.runtime_was_busy else "") + rate_text(m.jobs_per_second),
        f"{m.jobs:,}",
        "-" if m.memory.handlers is None else bytes_text(m.memory.handlers),
        "-" if m.memory.worker is None else bytes_text(m.memory.worker),
    )


def _closing(report: Report) -> Iterator[str]:
    if report.measured:
        there = f"on {count_text(cores(), 'core')}"
        yield f"Each for {report.seconds:g} s with all slots busy, {there}, from a job's hand-out to its answer. ALONE:"
        yield "the median of jobs with rests between them. HANDLERS, WORKER: the most memory. Bars: jobs per second."
    if any(m.runtime_was_busy for m in report.measured):
        yield "* The local runtime itself was busy more than half of the time: the function can do more than that."
    for m in report.measured:
        if m.failed:
            slots = count_text(m.slots, "slot")
            share = f"{m.failed:,} of {m.failed + m.jobs:,} jobs failed and do not count"
            yield f"{m.function}, {m.mode}, {slots}: {share}: {m.failure}"
    yield from report.notes
    if report.interrupted:
        yield "Interrupted: this is what was measured until then." if report.measured else "Interrupted."


def report_json(report: Report) -> dict[str, Any]:
    """For programs: seconds, bytes and jobs per second, nothing rounded."""
    return {
        "version": __version__,
        "cores": cores(),
        "seconds": report.seconds,
        "interrupted": report.interrupted,
        "queries": {name: {"source": query.source, "bytes": len(query.body)} for name, query in report.queries.items()},
        "measurements": [asdict(m) | {"slot_time": m.slot_time} for m in report.measured],
        "failures": [asdict(failure) for failure in report.failed],
        "advice": [asdict(advice) | {"use": USE} for advice in report.advice],
        "notes": list(report.notes),
    }
