"""`python -m benchmarks`: cm-exec beside the official SDKs, in one run."""

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import click

from benchmarks.case import LARGE, Case, full, quick
from benchmarks.installs import ROOT, install
from benchmarks.machine import Machine
from benchmarks.measure import Bench
from benchmarks.report import Report
from benchmarks.results import write_results
from benchmarks.rows import FORK_FLOOR, NAMES, TLS_FLOOR, Rows
from benchmarks.runtime_process import runtime
from benchmarks.sample import Samples


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", "is_quick", is_flag=True, help="Two cases, a minute; writes no RESULTS.md.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of each case, in place of its own number.")
@click.option("--row", "only", multiple=True, type=click.Choice(list(NAMES)), help="Only this row; repeatable.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long in all to wait for a calm machine, and to repeat what others disturbed.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every measurement to this file.")
@click.option("--results/--no-results", default=None, help="Write RESULTS.md and its picture; as a full run does.")
def main(
    *,
    is_quick: bool,
    rounds: int | None,
    only: tuple[str, ...],
    patience: float,
    json_file: Path | None,
    results: bool | None,
) -> None:
    """Measure cm-exec, the official SDKs and two floors against one runtime, in one run on one machine."""
    cases = _cases(quick() if is_quick else full(), rounds)
    with tempfile.TemporaryDirectory(prefix="cm-exec-bench-") as folder:
        report, failures = _run(cases, only, Path(folder), 0.0 if is_quick else 15.0, patience)
    for table in report.tables():
        click.echo(f"\n{table.text()}")
    click.echo("\n" + "\n".join(report.sentences()))
    machine = Machine.here()
    if json_file is not None:
        json_file.write_text(_as_json(report, machine))
    if results if results is not None else not is_quick and not only:
        write_results(report, machine, ROOT / "benchmarks")
    if failures or any(sample.wrong for sample in report.samples.all):
        sys.exit(1)


def _cases(cases: list[Case], rounds: int | None) -> list[Case]:
    return [replace(case, rounds=rounds) for case in cases] if rounds else cases


def _run(
    cases: list[Case], only: tuple[str, ...], folder: Path, idle_seconds: float, patience: float
) -> tuple[Report, bool]:
    rows = Rows(install(_tell), folder)
    for absent in rows.absent:
        _tell(f"without {NAMES[absent.key]}: {absent.why}")
    with runtime(folder) as served:
        bench = Bench(served, folder, _tell, patience)
        for case in cases:
            bench.run(case, [row for row in rows.of(case.task) if not only or row.key in only])
        echoes = [row for row in rows.of("echo") if row.key != FORK_FLOOR and (not only or row.key in only)]
        idle = bench.idle(echoes, 4, idle_seconds) if idle_seconds else []
        bare = next(row for row in rows.of("echo") if row.key == TLS_FLOOR)
        ceilings = {
            size: bench.ceiling(bare, size) for size in sorted({case.size for case in cases if case.size < LARGE})
        }
    return Report(samples=Samples(bench.samples), idle=idle, ceilings=ceilings), bool(bench.failures)


def _as_json(report: Report, machine: Machine) -> str:
    return json.dumps(
        {
            "machine": asdict(machine),
            "samples": [asdict(sample) for sample in report.samples.all],
            "idle": [asdict(idle) for idle in report.idle],
        },
        indent=1,
    )


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
