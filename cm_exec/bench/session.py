"""One run of `cm-exec bench`, from cm.toml to the report."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import click
import tomli

from cm_exec.bench.advice import Advice, advise
from cm_exec.bench.failure import Interrupted, NotMeasuredError
from cm_exec.bench.measure import WARM_UP, measure
from cm_exec.bench.measurement import Measurement, NotMeasured
from cm_exec.bench.options import BenchOptions
from cm_exec.bench.plan import Plan, Step, make_plan
from cm_exec.bench.progress import Interruptions, Progress
from cm_exec.bench.queries import Query, choose_queries
from cm_exec.bench.report import Report, report_json, report_text
from cm_exec.config import Config, Function, load_config
from cm_exec.protocol.nearest import nearest

_FAILED: Final = 1
_AROUND: Final = 1.5
"""Seconds that a step takes beside its measurement, roughly."""


def run_session(options: BenchOptions) -> int:
    """Measure and print; the exit status. Raises ConfigError, click.UsageError."""
    config = load_config(options.config_path)
    functions = list(_wanted(config, options.functions))
    queries = choose_queries(
        [function.name for function in functions],
        query=options.query,
        query_files=options.query_files,
        beside=options.config_path.parent,
    )
    plan = _plan(config, functions, options)
    if not plan.steps:
        raise click.UsageError("\n".join(["nothing is left to measure", *plan.notes]))
    run = Run(plan, queries, options.seconds)
    run.work()
    _print(run.report(options.rate), as_json=options.as_json)
    return run.exit_code


def _wanted(config: Config, names: Sequence[str]) -> Iterator[Function]:
    for name in names:
        if name not in config.functions:
            near = nearest(name, config.functions)
            hint = f"did you mean {near!r}?" if near else f"cm.toml has {', '.join(map(repr, config.functions))}"
            raise click.BadParameter(f"no function {name!r}; {hint}", param_hint="FUNCTION")
    yield from (function for name, function in config.functions.items() if not names or name in names)


def _plan(config: Config, functions: Sequence[Function], options: BenchOptions) -> Plan:
    document = tomli.loads(config.path.read_text(encoding="utf-8-sig"))
    return make_plan(
        config, document, functions=functions, modes=dict.fromkeys(options.modes), slots=options.concurrency
    )


class Run:
    """Works off a plan. `seconds` is for each measurement."""

    def __init__(self, plan: Plan, queries: dict[str, Query], seconds: float) -> None:
        self._plan = plan
        self._queries = queries
        self._seconds = seconds
        self._interruptions = Interruptions()
        self._measured: list[Measurement] = []
        self._failed: list[NotMeasured] = []

    def work(self) -> None:
        """Measure step by step, until the end or a signal."""
        progress = Progress(len(self._plan.steps), (1 + WARM_UP) * self._seconds + _AROUND)
        with self._interruptions.heard(), progress:
            for step in self._plan.steps:
                progress.begin(step)
                try:
                    self._step(step, progress)
                except Interrupted:
                    return
                progress.end()

    def _step(self, step: Step, progress: Progress) -> None:
        def attend() -> None:
            self._interruptions.check()
            progress.tick()

        attend()
        if self._is_in_vain(step):
            return
        name = step.function.name
        try:
            self._measured.append(measure(step, self._queries[name].body, self._seconds, attend))
        except NotMeasuredError as error:
            self._failed.append(NotMeasured(function=name, mode=step.mode, slots=step.slots, why=str(error)))

    def _is_in_vain(self, step: Step) -> bool:
        """Whether the mode failed with fewer slots, or the function in spawn, which asks least of it."""
        return any(f.function == step.function.name and f.mode in {step.mode, "spawn"} for f in self._failed)

    @property
    def exit_code(self) -> int:
        """128 + n after signal n, 1 when a function failed, else 0."""
        if self._interruptions.which:
            return 128 + self._interruptions.which
        return _FAILED if self._failed else 0

    def report(self, rate: float | None) -> Report:
        """What was measured so far."""
        return Report(
            queries=self._queries,
            measured=self._measured,
            failed=self._failed,
            advice=list(self._advice(rate)),
            notes=self._plan.notes,
            seconds=self._seconds,
            interrupted=bool(self._interruptions.which),
        )

    def _advice(self, rate: float | None) -> Iterator[Advice]:
        for name in self._queries:
            if measured := [m for m in self._measured if m.function == name]:
                yield advise(measured, rate)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report_json(report), indent=2))
        return
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(report_text(report, columns=columns, unicode=unicode))
