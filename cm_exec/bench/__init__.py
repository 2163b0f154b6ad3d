"""One run of `cm-exec bench`, from cm.toml to the report, with its progress on the terminal."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import tomli

from cm_exec.bench.measure import WARM_UP, FailedMeasurement, Measurement, measure
from cm_exec.bench.plan import BenchPlan, PlanStep, make_plan
from cm_exec.bench.report import BenchQuery, BenchReport, advise, report_json, report_text
from cm_exec.bench.worker import MeasurementError
from cm_exec.config import Config, Function, Mode
from cm_exec.config.load import load_config, read_file
from cm_exec.processes.signals import signal_handlers
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import count_text

_STEP_UNITS: Final = 1000
"""The length of one step in the bar's units."""

_DRAW_SECONDS: Final = 0.1
"""Seconds between drawings."""


class InterruptedRun(Exception):  # noqa: N818 - an order, not an error
    """Raised when a signal asks the program to end."""


class BenchProgress:
    """Draws the progress of a run if stderr is a terminal; `step_seconds` is the rough duration of a step.

    It is used inside the context of its `bar`.
    """

    def __init__(self, steps: int, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self.bar: Any = click.progressbar(
            length=steps * _STEP_UNITS,
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
            show_percent=False,
            item_show_func=str,
            bar_template="%(bar)s  %(info)s",
            fill_char="█",
            empty_char="░",
        )
        self._began = 0.0
        self._drawn_at = 0.0
        self._drawn = 0
        self._label = ""

    def begin(self, step: PlanStep) -> None:
        """Show that a step begins."""
        self._began = time.monotonic()
        self._drawn = 0
        self._label = f"{step.function.name}, {step.mode}, {count_text(step.slots, 'slot')}"
        self._draw(0)

    def tick(self) -> None:
        """Show that time passes."""
        now = time.monotonic()
        if now - self._drawn_at >= _DRAW_SECONDS:
            share = min(0.99, (now - self._began) / self._step_seconds)
            self._draw(int(share * _STEP_UNITS))

    def end(self) -> None:
        """Show that the step is complete."""
        self._draw(_STEP_UNITS)

    def _draw(self, units: int) -> None:
        self._drawn_at = time.monotonic()
        self.bar.update(units - self._drawn, self._label)
        self._drawn = units


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
            raise click.BadParameter(config.without_function(name), param_hint="FUNCTION")
    yield from (function for name, function in config.functions.items() if not names or name in names)


def choose_query(text: str | None, file: Path | None, folder: Path) -> BenchQuery:
    """Choose the query for all functions; `folder` is that of cm.toml.

    Raises click.UsageError if the query cannot be read, or is not JSON and so cannot be a job's query.
    """
    if text is not None and file is not None:
        raise click.UsageError("give the query as --query or as --query-file, not both")
    if text is not None:
        query = BenchQuery(body=os.fsencode(text), source="--query")
    elif file is not None or os.path.isfile(folder / _QUERY_FILE):
        path = file or folder / _QUERY_FILE
        try:
            query = BenchQuery(body=read_file(path), source=str(path))
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
        self._signal = 0
        self._measured: list[Measurement] = []
        self._failed: list[FailedMeasurement] = []

    def work(self) -> None:
        """Measure step by step, until the end or a signal."""
        progress = BenchProgress(len(self._plan.steps), (1 + WARM_UP) * self._seconds + _OVERHEAD)

        def note(number: signal.Signals) -> None:
            self._signal = number

        def on_tick() -> None:
            if self._signal:
                raise InterruptedRun
            progress.tick()

        with signal_handlers(note), progress.bar:
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
        if self._signal:
            return 128 + self._signal
        return _FAILED if self._failed else 0

    def report(self, rate: float | None) -> BenchReport:
        """Report the results so far."""
        functions = list(dict.fromkeys(step.function.name for step in self._plan.steps))
        return BenchReport(
            query=self._query,
            functions=functions,
            measured=self._measured,
            failed=self._failed,
            advice=[
                advise(measured, rate)
                for name in functions
                if (measured := [m for m in self._measured if m.function == name])
            ],
            notes=self._plan.notes,
            seconds=self._seconds,
            interrupted=bool(self._signal),
        )
