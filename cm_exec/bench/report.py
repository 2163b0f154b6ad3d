"""The report of a run, as a table or JSON, with advice: which mode, how many slots, how many replicas."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cm_exec import __version__
from cm_exec.bench.measure import FailedMeasurement, Measurement
from cm_exec.config import Mode
from cm_exec.processes.launcher import cpu_count
from cm_exec.text import count_text, duration_text, size_text, table_lines, three_digits

USE: Final = 0.7
"""The share of time that slots should be busy on average: above it, every ripple makes jobs wait."""

_CLEARLY_FASTER: Final = 0.7
_LEAST_SAVING: Final = 0.002
"""Another mode pays off if a job takes this share of its time, and this many seconds less."""

_NEARLY_BEST: Final = 0.9
"""More slots pay off if fewer handle less than this share of the jobs."""

_STILL_GROWS: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The replicas needed for `rate` jobs per second, and the slots that are then `busy` on average."""

    rate: float
    busy: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Advice for one function.

    `safe_rate` is the number of jobs per second that one such replica handles with its slots busy for the share
    USE of the time. `sentences` are for people.
    """

    function: str
    mode: Mode
    slots: int
    safe_rate: float
    replicas: Replicas | None
    sentences: tuple[str, ...]


def advise(measured: Sequence[Measurement], rate: float | None = None) -> Advice:
    """Derive advice from the measurements, at least one, of one function; `rate` is in jobs per second."""
    mode, why_mode = _choose_mode(measured)
    candidates = sorted((m for m in measured if m.mode == mode), key=lambda m: m.slots)
    best = max(candidates, key=lambda m: m.jobs_per_second)
    chosen = next(m for m in candidates if m.jobs_per_second >= _NEARLY_BEST * best.jobs_per_second)
    slots = f"concurrency = {chosen.slots}"
    if len(candidates) > 1 and best.runtime_was_busy:
        slots += ": the local runtime was the bottleneck, so the best value is unknown"
    elif len(candidates) > 1 and chosen.jobs_per_second > _STILL_GROWS * candidates[-2].jobs_per_second:
        slots += f"; try more: --concurrency {chosen.slots},{chosen.slots * 2}"
    replicas = None if rate is None else _replicas(chosen, rate)
    return Advice(
        function=chosen.function,
        mode=mode,
        slots=chosen.slots,
        safe_rate=USE * chosen.jobs_per_second,
        replicas=replicas,
        sentences=(*why_mode, slots, _capacity(chosen, replicas)),
    )


def _choose_mode(measured: Sequence[Measurement]) -> tuple[Mode, list[str]]:
    unloaded = {m.mode: m.unloaded_p50 for m in measured if m.unloaded_p50 is not None}
    spawn, prespawn = unloaded.get("spawn"), unloaded.get("prespawn")
    if spawn is None or prespawn is None:
        return measured[0].mode, []
    if prespawn > _CLEARLY_FASTER * spawn or spawn - prespawn < _LEAST_SAVING:
        times = f"{duration_text(prespawn)} instead of {duration_text(spawn)}"
        return "spawn", [f'mode = "spawn": starting a process ahead saves little: {times}']
    times = f"from {duration_text(spawn)} to {duration_text(prespawn)}"
    start = duration_text(spawn - prespawn)
    return "prespawn", [
        f'mode = "prespawn": latency of an idle module drops {times}',
        f'under full load each job still pays {start} for its process; mode = "persistent" pays it once per process',
    ]


def _replicas(chosen: Measurement, rate: float) -> Replicas:
    busy = rate * chosen.slot_time
    needed = round(busy / USE / chosen.slots, 9)  # 0.7 has no exact binary fraction
    return Replicas(rate=rate, busy=busy, replicas=max(1, math.ceil(needed)))


def _capacity(chosen: Measurement, replicas: Replicas | None) -> str:
    sizes = [size for size in (chosen.memory.worker, chosen.memory.handlers) if size is not None]
    memory = f" and about {size_text(sum(sizes))} of memory" if sizes else ""
    size = count_text(chosen.slots, "slot") + memory
    if replicas is None:
        rate = f"{'at least' if chosen.runtime_was_busy else 'about'} {three_digits(USE * chosen.jobs_per_second)}"
        return f"a replica of {size} handles {rate} jobs/s with its slots busy {USE:.0%} of the time"
    rate = three_digits(replicas.rate)
    law = f"{rate} jobs/s x {duration_text(chosen.slot_time)} in a slot = {three_digits(replicas.busy)} slots busy"
    return (
        f"for {rate} jobs/s: {count_text(replicas.replicas, 'replica')} of {size}. "
        f"Little's law: {law} on average, and at most {USE:.0%} of all slots should be"
    )


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
