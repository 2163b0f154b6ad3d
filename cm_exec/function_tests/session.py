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

from cm_exec.config import Config, load_config
from cm_exec.function_tests.cases import PreparedTest, read_cases, select_tests
from cm_exec.function_tests.junit import junit_xml
from cm_exec.function_tests.report import FunctionTestReport
from cm_exec.function_tests.runner import CompletedTest, FunctionTestRunner
from cm_exec.handlers.base import HandlerContext
from cm_exec.host import cpu_count
from cm_exec.processes.signals import run_supervised
from cm_exec.worker.logging import start_log

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


def run_session(args: FunctionTestArgs) -> int:
    """Run the tests, print, and return the exit status. Raises ConfigError, click.UsageError."""
    config = load_config(args.config_path)
    cases = read_cases(select_tests(config, args.names, args.config_path), args.config_path)
    if args.junit_path is not None:
        _write(args.junit_path, b"")
    if args.is_remote:
        return RemoteTestSession(config, cases, args).run()
    writer = start_log(_STDERR, "text", "warning")
    session = FunctionTestSession(config, cases, args)
    try:
        run_supervised(session.work, session.signalled)
    finally:
        session.finish()
        writer.close()
    return session.exit_code


class FunctionTestSession:
    """Runs the cases, reports each as it ends, and prints a summary."""

    def __init__(self, config: Config, cases: Sequence[PreparedTest], args: FunctionTestArgs) -> None:
        self._cases = cases
        self._junit_path = args.junit_path
        self._report = FunctionTestReport(args.config_path)
        self._context = HandlerContext.from_process()
        self._runner = FunctionTestRunner(
            config.functions,
            cases,
            self._context,
            slots=args.slots or config.launcher.concurrency or cpu_count(),
            fail_fast=args.fail_fast,
            on_end=self._ended,
        )
        self._completed: list[CompletedTest] = []
        self._began = time.monotonic()
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._signal = 0

    async def work(self) -> None:
        """Run all tests and return when every process has ended."""
        await self._runner.run()

    def _ended(self, test: CompletedTest) -> None:
        self._completed.append(test)
        self._report.ended(test)

    def signalled(self, which: signal.Signals, count: int) -> None:
        """End all jobs at the first signal, and kill them at the second."""
        self._signal = which
        if count == 1:
            self._context.abort_all()
        else:
            self._context.kill_all()

    def finish(self) -> None:
        """Print the summary, and write the file for CI. Raises click.UsageError if it cannot be written."""
        seconds = time.monotonic() - self._began
        completed = list(self._completed)
        self._report.summary(self._cases, completed, seconds=seconds, interrupted=bool(self._signal))
        if self._junit_path is not None:
            _write(self._junit_path, junit_xml(self._cases, completed, started=self._started, seconds=seconds))

    @property
    def exit_code(self) -> int:
        """Return 128 + n after signal n, 1 if a test failed, else 0."""
        if self._signal:
            return 128 + self._signal
        return _FAILED if any(test.problem is not None for test in self._completed) else 0


class RemoteTestSession:
    """Runs the cases against a running `cm-exec dev`, or a worker of any kind that it starts."""

    def __init__(self, config: Config, cases: Sequence[PreparedTest], args: FunctionTestArgs) -> None:
        self._config = config
        self._cases = cases
        self._args = args
        self._report = FunctionTestReport(args.config_path)
        self._completed: list[CompletedTest] = []

    def run(self) -> int:
        """Run the tests, print, and return the exit status. Raises NoRuntimeError, click.UsageError."""
        from cm_exec.function_tests.remote import RemoteTestRunner, running_dev, started_worker  # noqa: PLC0415

        args = self._args
        slots = args.slots or self._config.launcher.concurrency or cpu_count()
        began, started = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        remote = (
            started_worker(args.worker_command, concurrency=slots)
            if args.worker_command
            else running_dev(args.dev_url, args.config_path)
        )
        interrupted = False
        try:
            with remote as worker:
                runner = RemoteTestRunner(
                    self._config.functions,
                    self._cases,
                    worker,
                    slots=min(slots, len(self._cases)),
                    fail_fast=args.fail_fast,
                    on_end=self._ended,
                )
                runner.run()
        except KeyboardInterrupt:
            interrupted = True
        seconds = time.monotonic() - began
        self._report.summary(self._cases, self._completed, seconds=seconds, interrupted=interrupted)
        if args.junit_path is not None:
            _write(args.junit_path, junit_xml(self._cases, self._completed, started=started, seconds=seconds))
        if interrupted:
            os._exit(128 + signal.SIGINT)  # threads may still wait for a result
        return _FAILED if any(test.problem is not None for test in self._completed) else 0

    def _ended(self, test: CompletedTest) -> None:
        self._completed.append(test)
        self._report.ended(test)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.BadParameter(f"{str(path)!r}: {error.strerror}", param_hint="--junit") from None
