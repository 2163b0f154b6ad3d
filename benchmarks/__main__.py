"""`python -m benchmarks`: measure cm-exec and the official SDKs in one run."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path

import click

from benchmarks.case import LARGE, Case, full, quick
from benchmarks.installs import ROOT, install
from benchmarks.machine import Machine
from benchmarks.measure import BenchmarkRun
from benchmarks.report import Report
from benchmarks.results import write_results
from benchmarks.rows import FORK_FLOOR, NAMES, TLS_FLOOR, Rows
from benchmarks.runtime_process import runtime
from benchmarks.sample import Samples


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", "is_quick", is_flag=True, help="Measure only the small echo, for a shorter time.")
@click.option(
    "--case", "patterns", multiple=True, help="Measure only matching cases, such as 'echo-64B-*'; repeatable."
)
@click.option("--row", "keys", multiple=True, type=click.Choice(list(NAMES)), help="Measure only this row; repeatable.")
@click.option("--rounds", type=click.IntRange(min=1), help="The number of rounds of each case.")
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Total time to wait for an idle machine and to repeat disturbed run.",
)
@click.option("--list", "is_list", is_flag=True, help="Print the names of the cases and exit.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every measurement to this file.")
@click.option("--results/--no-results", default=None, help="Write RESULTS.md and its picture; default for a full run.")
def main(
    *,
    is_quick: bool,
    patterns: tuple[str, ...],
    keys: tuple[str, ...],
    rounds: int | None,
    max_wait: float,
    is_list: bool,
    json_file: Path | None,
    results: bool | None,
) -> None:
    """Measure cm-exec, the official SDKs and bare floors in one run, on one machine, against one runtime."""
    is_full = not (is_quick or patterns or keys)
    cases = [
        replace(case, rounds=rounds or case.rounds)
        for case in (quick() if is_quick else full())
        if not patterns or any(fnmatch(case.key, pattern) for pattern in patterns)
    ]
    if is_list or not cases:
        click.echo("\n".join(case.key for case in (cases or full())), err=not is_list)
        sys.exit(0 if is_list else "no case matches; these are the cases")
    with tempfile.TemporaryDirectory(prefix="cm-exec-bench-") as folder:
        report, failed = _run(cases, keys, Path(folder), is_full=is_full, max_wait=max_wait)
    for table in report.tables():
        click.echo(f"\n{table.text()}")
    click.echo("\n" + "\n".join(report.sentences()))
    machine = Machine.here()
    if json_file is not None:
        json_file.write_text(_as_json(report, machine))
    if is_full if results is None else results:
        write_results(report, machine, ROOT / "benchmarks")
    if failed or any(sample.wrong for sample in report.samples.all):
        sys.exit(1)


def _run(
    cases: Sequence[Case], keys: Sequence[str], folder: Path, *, is_full: bool, max_wait: float
) -> tuple[Report, bool]:
    rows = Rows(install(_progress), folder)
    for (key, task), reason in rows.missing.items():
        _progress(f"without {NAMES[key]} ({task}): {reason}")
    with runtime(folder) as served:
        run = BenchmarkRun(served, folder, _progress, max_wait)
        for case in cases:
            run.run(case, [row for row in rows.of(case.task) if not keys or row.key in keys])
        echoes = [row for row in rows.of("echo") if row.key != FORK_FLOOR]
        bare = next(row for row in echoes if row.key == TLS_FLOOR)
        sizes = sorted({case.size for case in cases if case.size < LARGE}) if is_full else []
        report = Report(
            samples=Samples(run.samples),
            idle=run.idle(echoes, concurrency=4, seconds=15.0) if is_full else [],
            ceilings={size: run.ceiling(bare, size) for size in sizes},
            cores=os.cpu_count() or 1,
        )
    return report, bool(run.failures)


def _as_json(report: Report, machine: Machine) -> str:
    return json.dumps(
        {
            "machine": asdict(machine),
            "samples": [asdict(sample) for sample in report.samples.all],
            "idle": [asdict(idle) for idle in report.idle],
        },
        indent=1,
    )


def _progress(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
