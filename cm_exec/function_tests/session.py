"""One run of `cm-exec test`, from cm.toml to the exit status."""

import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from cm_exec.cli.cores import cores
from cm_exec.cli.logs import start_log
from cm_exec.cli.supervision import end_jobs, supervise
from cm_exec.config import Config, load_config
from cm_exec.function_tests.case import Case, read_cases
from cm_exec.function_tests.junit import junit_xml
from cm_exec.function_tests.options import RunOptions
from cm_exec.function_tests.report import Report
from cm_exec.function_tests.runner import Ran, Runner
from cm_exec.function_tests.selection import chosen
from cm_exec.handlers.environment import launcher_environment
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.spool import spool_directory
from cm_exec.handlers.stop import StopNow

_STDERR: Final = 2
_FAILED: Final = 1


def run_session(options: RunOptions) -> int:
    """Run the tests and print; the exit status. Raises ConfigError, click.UsageError."""
    config = load_config(options.config_path)
    cases = read_cases(chosen(config, options.names, options.config_path), options.config_path)
    if options.junit_path is not None:
        _write(options.junit_path, b"")
    writer = start_log(_STDERR, "text", "warning")
    session = Session(config, cases, options)
    try:
        supervise(session.work, session.signalled)
    finally:
        session.tell()
        writer.close()
    return session.exit_code


class Session:
    """Runs the cases, and tells of each as it ends and of all at the end."""

    def __init__(self, config: Config, cases: Sequence[Case], options: RunOptions) -> None:
        self._cases = cases
        self._junit_path = options.junit_path
        self._report = Report(options.config_path)
        self._surroundings = Surroundings(
            environment=launcher_environment(), spool_directory=spool_directory(), stop=StopNow()
        )
        self._runner = Runner(
            config.functions,
            cases,
            self._surroundings,
            slots=options.slots or config.launcher.concurrency or cores(),
            fail_fast=options.fail_fast,
            tell=self._ended,
        )
        self._ran: list[Ran] = []
        self._began = time.monotonic()
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._signal = 0

    def work(self) -> None:
        """Run all tests; returns when every process has ended."""
        self._runner.run()

    def _ended(self, ran: Ran) -> None:
        self._ran.append(ran)
        self._report.ended(ran)

    def signalled(self, which: signal.Signals, how_often: int) -> None:
        """End all jobs at the first signal, without asking at the second."""
        self._signal = which
        end_jobs(self._surroundings, how_often)

    def tell(self) -> None:
        """Print the summary, and write the file for CI. Raises click.UsageError where it cannot be written."""
        seconds = time.monotonic() - self._began
        ran = list(self._ran)
        self._report.summary(self._cases, ran, seconds=seconds, interrupted=bool(self._signal))
        if self._junit_path is not None:
            _write(self._junit_path, junit_xml(self._cases, ran, started=self._started, seconds=seconds))

    @property
    def exit_code(self) -> int:
        """128 + n after signal n, 1 when a test failed, else 0."""
        if self._signal:
            return 128 + self._signal
        return _FAILED if any(one.complaint is not None for one in self._ran) else 0


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.BadParameter(f"{str(path)!r}: {error.strerror}", param_hint="--junit") from None
