"""The report of a run: a table for people, JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cm_exec import __version__
from cm_exec.bench.advice import USE, Advice
from cm_exec.bench.measurement import FailedMeasurement, Measurement
from cm_exec.host import cpu_count
from cm_exec.text import count_text, duration_text, size_text, table_lines, three_digits

_HEAD: Final = ("MODE", "SLOTS", "UNLOADED", "P50", "P90", "P99", "JOBS/S", "JOBS", "HANDLERS", "WORKER")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchQuery:
    """A query as JSON text, and its origin in words."""

    body: bytes
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """All of a run. `functions` are those of the plan; `seconds` is the duration of each measurement."""

    query: BenchQuery
    functions: Sequence[str]
    measured: Sequence[Measurement]
    failed: Sequence[FailedMeasurement]
    advice: Sequence[Advice]
    notes: Sequence[str]
    seconds: float
    interrupted: bool


def report_text(report: BenchReport) -> str:
    """Return the report for people."""
    size = f" ({count_text(len(report.query.body), 'byte')})" if report.query.body != b"{}" else ""
    blocks = ["\n".join(_block(report, name)) for name in report.functions]
    head = f"query: {report.query.source}{size}"
    return "\n\n".join([head, *filter(None, blocks), "\n".join(_closing(report))])


def _block(report: BenchReport, name: str) -> Iterator[str]:
    measured = [m for m in report.measured if m.function == name]
    failed = [f for f in report.failed if f.function == name]
    if not measured and not failed:
        return
    yield name
    if measured:
        yield from (f"  {line}" for line in table_lines([_HEAD, *map(_row, measured)], text_columns=1))
    for failure in failed:
        yield f"  {failure.mode}, {count_text(failure.slots, 'slot')}: not measured: {failure.why}"
    for advice in report.advice:
        if advice.function == name:
            yield from (f"  -> {sentence}" for sentence in advice.sentences)


def _row(m: Measurement) -> tuple[str, ...]:
    return (
        m.mode,
        str(m.slots),
        "" if m.unloaded_p50 is None else duration_text(m.unloaded_p50),
        duration_text(m.p50),
        duration_text(m.p90),
        duration_text(m.p99),
        ("*" if m.runtime_was_busy else "") + three_digits(m.jobs_per_second),
        f"{m.jobs:,}",
        "-" if m.memory.handlers is None else size_text(m.memory.handlers),
        "-" if m.memory.worker is None else size_text(m.memory.worker),
    )


def _closing(report: BenchReport) -> Iterator[str]:
    if report.measured:
        busy = f"with all slots busy on {count_text(cpu_count(), 'core')}"
        yield f"Each measured for {report.seconds:g} s {busy}, from a job's hand-out to its answer."
        yield "UNLOADED: the median of jobs with pauses between them. HANDLERS, WORKER: peak memory."
    if any(m.runtime_was_busy for m in report.measured):
        yield "* The local runtime was busy for more than half of the time: the function may handle more."
    for m in report.measured:
        if m.failed:
            step = f"{m.function}, {m.mode}, {count_text(m.slots, 'slot')}"
            yield f"{step}: {m.failed:,} of {m.failed + m.jobs:,} jobs failed and do not count: {m.failure}"
    yield from report.notes
    if report.interrupted:
        yield "Interrupted: these are the results until then." if report.measured else "Interrupted."


def report_json(report: BenchReport) -> dict[str, Any]:
    """Return the report for programs: seconds, bytes and jobs per second, nothing rounded."""
    return {
        "version": __version__,
        "cores": cpu_count(),
        "seconds": report.seconds,
        "interrupted": report.interrupted,
        "query": {"source": report.query.source, "bytes": len(report.query.body)},
        "measurements": [asdict(m) | {"slot_time": m.slot_time} for m in report.measured],
        "failures": [asdict(failure) for failure in report.failed],
        "advice": [asdict(advice) | {"use": USE} for advice in report.advice],
        "notes": list(report.notes),
    }
