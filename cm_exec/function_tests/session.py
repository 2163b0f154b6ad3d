"""One run of `cm-exec test`, from cm.toml to the exit status."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from cm_exec.config import Config
from cm_exec.config.load import load_config
from cm_exec.function_tests import PreparedTest, read_cases, select_tests
from cm_exec.function_tests.report import FunctionTestReport, junit_xml
from cm_exec.function_tests.runner import CompletedTest, FunctionTestRunner
from cm_exec.handlers import HandlerContext
from cm_exec.preflight import command_problem
from cm_exec.processes.launcher import cpu_count
from cm_exec.processes.signals import run_supervised
from cm_exec.worker.logging import show_messages_once, start_log

_STDERR: Final = 2
_FAILED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTestArgs:
    """The command line. `names` is empty for all tests; `slots` is None for the default concurrency."""

    names: tuple[str, ...]
    config_path: Path
    slots: int | None
    fail_fast: bool
    junit_path: Path | None
    dev: bool = False
    dev_url: str | None = None
    worker_command: tuple[str, ...] = ()

    @property
    def is_remote(self) -> bool:
        """Whether another program runs the functions."""
        return self.dev or bool(self.worker_command)

    @property
    def dev_options(self) -> list[str]:
        """Options that choose the same running dev again; the token of its address is not shown."""
        if not self.dev:
            return []
        return ["--dev"] if self.dev_url is None else ["--dev-url", self.dev_url.partition("?")[0]]


def run_session(args: FunctionTestArgs) -> int:
    """Run the tests, print, and return the exit status. Raises ConfigError, NoRuntimeError, click.UsageError."""
    config = load_config(args.config_path)
    cases = read_cases(select_tests(config, args.names, args.config_path), args.config_path)
    if args.junit_path is not None:
        _write(args.junit_path, b"")
    session = FunctionTestSession(config, cases, args)
    if args.is_remote:
        session.run_remotely()
    else:
        session.run_here()
        problems = (command_problem(config.functions[name]) for name in session.failed_functions())
        for problem in dict.fromkeys(filter(None, problems)):
            click.echo(f"cm-exec: {args.config_path}: {problem}", err=True)
    return session.exit_code


class FunctionTestSession:
    """Runs the cases, reports each as it ends, and prints a summary."""

    def __init__(self, config: Config, cases: Sequence[PreparedTest], args: FunctionTestArgs) -> None:
        self._config = config
        self._cases = cases
        self._args = args
        self._slots = args.slots or config.launcher.concurrency or cpu_count()
        self._report = FunctionTestReport(
            args.config_path, dev_options=args.dev_options, worker_command=args.worker_command
        )
        self._completed: list[CompletedTest] = []
        self._began = time.monotonic()
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._signal = 0

    def run_here(self) -> None:
        """Run the tests with handlers of their own: a signal ends all jobs, and a second one kills them."""
        context = HandlerContext.from_process()
        runner = FunctionTestRunner(
            self._config.functions,
            self._cases,
            context,
            slots=self._slots,
            fail_fast=self._args.fail_fast,
            on_end=self._ended,
        )

        def signalled(which: signal.Signals, count: int) -> None:
            self._signal = which
            if count == 1:
                context.abort_all()
            else:
                context.kill_all()

        writer = start_log(_STDERR, "text", "warning")
        show_messages_once()
        try:
            run_supervised(runner.run, signalled)
        finally:
            self._finish()
            writer.close()

    def run_remotely(self) -> None:
        """Run the tests with another program: Ctrl-C ends this one at once."""
        from cm_exec.function_tests.remote import (  # noqa: PLC0415 - its HTTP client costs 20 ms
            run_remotely,
            running_dev,
            started_worker,
        )

        args = self._args
        remote = (
            started_worker(args.worker_command, concurrency=self._slots)
            if args.worker_command
            else running_dev(args.dev_url, args.config_path)
        )
        try:
            with remote as worker:
                run_remotely(
                    self._config.functions,
                    self._cases,
                    worker,
                    slots=args.slots,
                    fail_fast=args.fail_fast,
                    on_end=self._ended,
                )
        except KeyboardInterrupt:
            self._signal = signal.SIGINT
        self._finish()
        if self._signal:
            os._exit(self.exit_code)  # threads may still wait for a result

    def _ended(self, test: CompletedTest) -> None:
        self._completed.append(test)
        self._report.ended(test)

    def _finish(self) -> None:
        """Print the summary, and write the file for CI. Raises click.UsageError if it cannot be written."""
        seconds = time.monotonic() - self._began
        completed = list(self._completed)
        self._report.summary(self._cases, completed, seconds=seconds, interrupted=bool(self._signal))
        if self._args.junit_path is not None:
            xml = junit_xml(self._cases, completed, started=self._started, seconds=seconds)
            _write(self._args.junit_path, xml)

    def failed_functions(self) -> dict[str, None]:
        """Return the functions of which a test failed, in the order of their ends."""
        return dict.fromkeys(one.case.test.function for one in self._completed if one.problem is not None)

    @property
    def exit_code(self) -> int:
        """Return 128 + n after signal n, 1 if a test failed, else 0."""
        if self._signal:
            return 128 + self._signal
        return _FAILED if self.failed_functions() else 0


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.BadParameter(f"{str(path)!r}: {error.strerror}", param_hint="--junit") from None
