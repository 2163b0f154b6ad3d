"""The page and the picture that a full run writes."""

from datetime import date
from pathlib import Path
from typing import Final

from benchmarks.case import SMALL, Case
from benchmarks.chart import Bar, Panel, Tone, svg
from benchmarks.machine import Machine
from benchmarks.report import Report
from benchmarks.rows import FORK_FLOOR, NAMES, SDK_PROCESSES, SPAWN, family
from benchmarks.sample import Summary

PICTURE: Final = "results.svg"

_METHOD: Final = """\
One run of `make bench` on one machine. Every row talks to the same runtime, a separate process that speaks the protocol
over TLS and does nothing else. The rows take turns, in several rounds, each with a new worker; a cell is the median of
the rounds, and a ratio is the median of the ratios of the rounds. As many jobs as the concurrency are in progress at
all times, and each result is compared with its query. The time of a job is from its hand-out to its whole result.
Memory is that of a worker with all its processes, with shared pages counted once; CPU is that of the worker and its
handlers. *Runtime busy* is the share of a core that the runtime used: if it is far below 100 %, the runtime did not
limit the row.

A floor does a part of the work and nothing else. *Fork and exec* starts the handler repeatedly, without any network.
*Poll and post* answers each job with its query over kept-alive TLS, without any handler; spawn mode cannot be faster
than both together. *Poll, call and post* also sends the query to the HTTP server of the row beside it."""


def write_results(report: Report, machine: Machine, folder: Path) -> None:
    """Write RESULTS.md and results.svg to `folder`."""
    (folder / PICTURE).write_text(picture(report, machine))
    (folder / "RESULTS.md").write_text(page(report, machine, date.today()))  # noqa: DTZ011 - the reader's day


def page(report: Report, machine: Machine, day: date) -> str:
    """Return the text of RESULTS.md."""
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
    """Draw the small echo at each concurrency, and the handler that imports numpy."""
    panels = []
    for case in report.samples.cases():
        if case.task == "echo" and case.size == SMALL:
            panels.append(_rates(report, case))
        elif case.pause:
            panels.append(_latencies(report, case))
    return svg(
        "cm-exec beside the official SDKs",
        machine.sentence(),
        [panel for panel in panels if panel.bars],
        "Orange: fork and exec of the handler without anything else, a bound for spawn mode.",
    )


def _rates(report: Report, case: Case) -> Panel:
    summaries = report.samples.summaries(case)
    floor = next((summary.jobs_per_second.median for summary in summaries if summary.row == FORK_FLOOR), None)
    title = f"Echo of 64 bytes, concurrency {case.concurrency}: jobs per second, more is better"
    return Panel(title=title, bars=tuple(_rate(summary, floor) for summary in summaries if _is_worker(summary)))


def _rate(summary: Summary, floor: float | None) -> Bar:
    times = summary.times_sdk
    return Bar(
        label=NAMES[summary.row],
        value=summary.jobs_per_second.median,
        low=summary.jobs_per_second.low,
        high=summary.jobs_per_second.high,
        tone=_tone(summary),
        note=f"({times.median:.1f} times)" if times and summary.row != SDK_PROCESSES else "",
        mark=floor if summary.row == SPAWN else None,
    )


def _latencies(report: Report, case: Case) -> Panel:
    summaries = report.samples.summaries(case)
    floor = next((summary.p50.median * 1000 for summary in summaries if summary.row == FORK_FLOOR), None)
    bars = tuple(
        Bar(
            label=NAMES[summary.row],
            value=summary.p50.median * 1000,
            low=summary.p50.low * 1000,
            high=summary.p50.high * 1000,
            tone=_tone(summary),
            mark=floor if summary.row == SPAWN else None,
        )
        for summary in summaries
        if _is_worker(summary)
    )
    return Panel(title="A Python handler that imports numpy: milliseconds for a job (p50), less is better", bars=bars)


def _is_worker(summary: Summary) -> bool:
    return family(summary.row) != "floor"


def _tone(summary: Summary) -> Tone:
    return "ours" if family(summary.row) == "cm-exec" else "theirs"
