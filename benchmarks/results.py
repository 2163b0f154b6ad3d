"""The page and the picture that a full run leaves behind."""

from datetime import date
from pathlib import Path
from typing import Final

from benchmarks.case import Case
from benchmarks.chart import Bar, Panel, Tone, svg
from benchmarks.machine import Machine
from benchmarks.report import Report
from benchmarks.rows import FAMILIES, FORK_FLOOR, NAMES, SDK_PROCESSES, SPAWN
from benchmarks.sample import Entry

PICTURE: Final = "results.svg"

_METHOD: Final = """\
One run of `make bench` on one machine: every row talks to the same runtime, a process of its own that speaks the
protocol over TLS and does nothing else. Rows take turns, in several rounds, each with a fresh worker; a cell is the
median of the rounds. As many jobs as the concurrency are in hand at all times, and each result is compared with its
query. The time of a job is from its hand-out to its whole result. Memory counts a worker with all its processes,
shared pages once; CPU is the worker's with its handlers. *Runtime busy* is the share of a core that the runtime
used: where it is far below 100 %, the runtime is not what was measured.

The floors do one half of the work and nothing else: *fork and exec* runs the handler again and again without any
network, *poll and post* answers each job with its query over kept-alive TLS without any handler. Spawn mode cannot be
faster than both together."""


def write_results(report: Report, machine: Machine, folder: Path) -> None:
    """Write RESULTS.md and results.svg into `folder`."""
    (folder / PICTURE).write_text(picture(report, machine))
    (folder / "RESULTS.md").write_text(page(report, machine, date.today()))  # noqa: DTZ011 - the reader's day


def page(report: Report, machine: Machine, day: date) -> str:
    """RESULTS.md."""
    parts = [
        "# Benchmark results",
        f"{day.isoformat()}: {machine.sentence()}.",
        f"![Jobs per second of cm-exec and the official SDKs]({PICTURE})",
        "\n".join(f"- {sentence[:1].upper()}{sentence[1:]}" for sentence in report.sentences()),
        "## How it was measured",
        _METHOD,
        "## All numbers",
        *(table.markdown() for table in report.tables()),
    ]
    return "\n\n".join(parts) + "\n"


def picture(report: Report, machine: Machine) -> str:
    """The small echo at each concurrency, and the handler that imports numpy."""
    panels = []
    for case in report.samples.cases():
        if case.task == "echo" and case.size == 64:
            panels.append(_rates(report, case))
        elif case.pause:
            panels.append(_latencies(report, case))
    return svg(
        "cm-exec beside the official SDKs",
        machine.sentence(),
        [panel for panel in panels if panel.bars],
        "Orange: what forking and executing the handler costs by itself, a bound for spawn mode.",
    )


def _rates(report: Report, case: Case) -> Panel:
    entries = report.samples.entries(case)
    floor = next((entry.jobs_per_second.median for entry in entries if entry.row == FORK_FLOOR), None)
    title = f"Echo of 64 bytes, concurrency {case.concurrency}: jobs per second, more is better"
    return Panel(title=title, bars=tuple(_rate(entry, floor) for entry in entries if _is_worker(entry)))


def _rate(entry: Entry, floor: float | None) -> Bar:
    times = entry.times_sdk
    return Bar(
        label=NAMES[entry.row],
        value=entry.jobs_per_second.median,
        low=entry.jobs_per_second.low,
        high=entry.jobs_per_second.high,
        tone=_tone(entry),
        note=f"({times.median:.1f} times)" if times and entry.row != SDK_PROCESSES else "",
        mark=floor if entry.row == SPAWN else None,
    )


def _latencies(report: Report, case: Case) -> Panel:
    entries = report.samples.entries(case)
    floor = next((entry.p50.median * 1000 for entry in entries if entry.row == FORK_FLOOR), None)
    bars = tuple(
        Bar(
            label=NAMES[entry.row],
            value=entry.p50.median * 1000,
            low=entry.p50.low * 1000,
            high=entry.p50.high * 1000,
            tone=_tone(entry),
            mark=floor if entry.row == SPAWN else None,
        )
        for entry in entries
        if _is_worker(entry)
    )
    return Panel(title="A Python handler that imports numpy: milliseconds for a job (p50), less is better", bars=bars)


def _is_worker(entry: Entry) -> bool:
    return FAMILIES[entry.row] != "floor"


def _tone(entry: Entry) -> Tone:
    return "ours" if FAMILIES[entry.row] == "cm-exec" else "theirs"
