"""One run of `cm-exec bench`, from cm.toml to the report."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import tomli

from cm_exec.bench.advice import Advice, advise
from cm_exec.bench.jobs import MeasurementError
from cm_exec.bench.measure import WARM_UP, measure
from cm_exec.bench.measurement import FailedMeasurement, Measurement
from cm_exec.bench.plan import BenchPlan, PlanStep, make_plan
from cm_exec.bench.progress import BenchProgress, InterruptedRun, Interruptions
from cm_exec.bench.report import BenchQuery, BenchReport, report_json, report_text
from cm_exec.config import Config, Function, load_config
from cm_exec.config.model import Mode
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import did_you_mean

_FAILED: Final = 1
_OVERHEAD: Final = 1.5
"""Seconds that a step takes besides its measurement, roughly."""

_QUERY_FILE: Final = "query.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchArgs:
    """The command line. `functions` and `modes` are empty for all; `rate` is in jobs per second."""

    functions: tuple[str, ...]
    config_path: Path
    modes: tuple[Mode, ...]
    concurrency: tuple[int, ...]
    seconds: float
    query: str | None
    query_file: Path | None
    rate: float | None
    as_json: bool


def run_session(args: BenchArgs) -> int:
    """Measure, print, and return the exit status. Raises ConfigError, click.UsageError."""
    config = load_config(args.config_path)
    functions = list(_selected(config, args.functions))
    query = choose_query(args.query, args.query_file, args.config_path.parent)
    document = tomli.loads(config.path.read_text(encoding="utf-8-sig"))
    plan = make_plan(config, document, functions=functions, modes=dict.fromkeys(args.modes), slots=args.concurrency)
    if not plan.steps:
        raise click.UsageError("\n".join(["nothing is left to measure", *plan.notes]))
    run = BenchRun(plan, query, args.seconds)
    run.work()
    report = run.report(args.rate)
    click.echo(json.dumps(report_json(report), indent=2) if args.as_json else report_text(report))
    return run.exit_code


def _selected(config: Config, names: Sequence[str]) -> Iterator[Function]:
    for name in names:
        if name not in config.functions:
            hint = did_you_mean(name, config.functions, otherwise="cm.toml has", quote=repr)
            raise click.BadParameter(f"no function {name!r}; {hint}", param_hint="FUNCTION")
    yield from (function for name, function in config.functions.items() if not names or name in names)


def choose_query(text: str | None, file: Path | None, folder: Path) -> BenchQuery:
    """Choose the query for all functions; `folder` is that of cm.toml.

    Raises click.UsageError if the query cannot be read, or is not JSON and so cannot be a job's query.
    """
    if text is not None and file is not None:
        raise click.UsageError("give the query as --query or as --query-file, not both")
    if text is not None:
        query = BenchQuery(body=os.fsencode(text), source="--query")
    elif file is not None or (folder / _QUERY_FILE).is_file():
        path = file or folder / _QUERY_FILE
        try:
            query = BenchQuery(body=path.read_bytes(), source=str(path))
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--query-file") from None
    else:
        query = BenchQuery(body=b"{}", source="{} (default: there is no --query, no --query-file and no query.json)")
    if (problem := json_problem(query.body)) is not None:
        raise click.UsageError(f"the query from {query.source} is not valid JSON: {problem}")
    return query


class BenchRun:
    """Measures the steps of a plan, each for `seconds`."""

    def __init__(self, plan: BenchPlan, query: BenchQuery, seconds: float) -> None:
        self._plan = plan
        self._query = query
        self._seconds = seconds
        self._interruptions = Interruptions()
        self._measured: list[Measurement] = []
        self._failed: list[FailedMeasurement] = []

    def work(self) -> None:
        """Measure step by step, until the end or a signal."""
        progress = BenchProgress(len(self._plan.steps), (1 + WARM_UP) * self._seconds + _OVERHEAD)

        def on_tick() -> None:
            self._interruptions.check()
            progress.tick()

        with self._interruptions.installed(), progress:
            for step in self._plan.steps:
                progress.begin(step)
                try:
                    on_tick()
                    if not self._should_skip(step):
                        self._measured.append(measure(step, self._query.body, self._seconds, on_tick))
                except MeasurementError as error:
                    name = step.function.name
                    failed = FailedMeasurement(function=name, mode=step.mode, slots=step.slots, why=str(error))
                    self._failed.append(failed)
                except InterruptedRun:
                    return
                progress.end()

    def _should_skip(self, step: PlanStep) -> bool:
        """Report whether the mode failed with fewer slots, or the function failed in spawn, the simplest mode."""
        return any(f.function == step.function.name and f.mode in {step.mode, "spawn"} for f in self._failed)

    @property
    def exit_code(self) -> int:
        """Return 128 + n after signal n, 1 if a function failed, else 0."""
        if self._interruptions.signal:
            return 128 + self._interruptions.signal
        return _FAILED if self._failed else 0

    def report(self, rate: float | None) -> BenchReport:
        """Report the results so far."""
        functions = list(dict.fromkeys(step.function.name for step in self._plan.steps))
        return BenchReport(
            query=self._query,
            functions=functions,
            measured=self._measured,
            failed=self._failed,
            advice=list(self._advice(functions, rate)),
            notes=self._plan.notes,
            seconds=self._seconds,
            interrupted=bool(self._interruptions.signal),
        )

    def _advice(self, functions: Sequence[str], rate: float | None) -> Iterator[Advice]:
        for name in functions:
            if measured := [m for m in self._measured if m.function == name]:
                yield advise(measured, rate)
