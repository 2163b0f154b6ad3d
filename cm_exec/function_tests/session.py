"""One run of `cm-exec test`, from cm.toml to the exit status: with handlers of its own, or against another worker."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import click

from cm_exec.config import Config, Function, load_config
from cm_exec.devserver.client import CallIdentity, find_dev
from cm_exec.errors import NoRuntimeError
from cm_exec.function_tests.cases import PreparedTest, read_cases, select_tests
from cm_exec.function_tests.report import FunctionTestReport, junit_xml
from cm_exec.function_tests.runner import CompletedTest, FunctionTestRunner, check_outcome
from cm_exec.handlers.base import HandlerContext
from cm_exec.processes.launcher import cpu_count
from cm_exec.processes.signals import run_supervised
from cm_exec.protocol.job import Failure, Reason
from cm_exec.worker.logging import show_messages_once, start_log

Outcome = tuple[bytes | Failure, bytes]
"""A result or a failure, and the stderr of the handler as far as it is known."""


class RemoteWorker(Protocol):
    """Calls a function with JSON text; `timeout` is in seconds, 0 for none."""

    def __call__(self, function: str, query: bytes, timeout: float, user_id: str | None) -> Outcome:
        """Return the outcome."""


class RemoteTestRunner:
    """Runs each case once through `worker`, as `FunctionTestRunner` does it with handlers of its own."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        cases: Sequence[PreparedTest],
        worker: RemoteWorker,
        *,
        slots: int,
        fail_fast: bool,
        on_end: Callable[[CompletedTest], None],
    ) -> None:
        self._functions = functions
        self._cases = cases
        self._worker = worker
        self._slots = slots
        self._fail_fast = fail_fast
        self._on_end = on_end
        self._failed = False
        self._stopped = False

    def run(self) -> None:
        """Run the tests. With `fail_fast` none starts after one has failed."""
        pool = ThreadPoolExecutor(self._slots)
        running: list[Future[None]] = [pool.submit(self._run, case) for case in self._cases]
        try:
            for test in running:
                test.result()
        finally:
            self._stopped = True
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, case: PreparedTest) -> None:
        if self._stopped or (self._fail_fast and self._failed):
            return
        function = self._functions[case.test.function]
        timeout = function.timeout if case.test.timeout is None else case.test.timeout
        began = time.monotonic()
        outcome, stderr = self._worker(function.name, case.query, timeout or 0, case.test.user_id)
        seconds = time.monotonic() - began
        problem = check_outcome(case, function, outcome, stderr)
        self._failed = self._failed or problem is not None
        self._on_end(CompletedTest(case=case, seconds=seconds, problem=problem, stderr=stderr))


@contextmanager
def running_dev(url: str | None, config_path: Path) -> Iterator[RemoteWorker]:
    """Give a running `cm-exec dev` as the worker. Raises NoRuntimeError."""
    client = find_dev(url, config_path)

    def call(function: str, query: bytes, timeout: float, user_id: str | None) -> Outcome:
        with client.connection_errors():
            response = client.call(function, query, timeout=timeout, identity=CallIdentity(user_id=user_id))
            body = response.read()
            if response.status == http.client.UNAUTHORIZED:
                raise NoRuntimeError("the token for cm-exec dev is missing or wrong; see CM_EXEC_DEV_TOKEN")
            job = client.job(response.headers.get("X-Job-Id"))
            stderr = "".join(f"{line}\n" for line in client.stderr(job)).encode() if job.get("state") != "done" else b""
        failure = job.get("failure")
        if failure is not None:
            return _reported_failure(failure["message"], failure["reason"]), stderr
        if response.status != http.client.OK:
            reason = Reason.TIMEOUT if response.status == http.client.GATEWAY_TIMEOUT else Reason.HANDLER
            return Failure(reason=reason, message=str(json.loads(body)["error"])), stderr
        return body, stderr

    yield call


@contextmanager
def started_worker(command: Sequence[str], *, concurrency: int) -> Iterator[RemoteWorker]:
    """Start a command against a local runtime, and give it as the worker. Raises NoRuntimeError if it ends."""
    from cm_exec.testing import FunctionError, WorkerEndedError, run_compute_module  # noqa: PLC0415 - the extra `dev`

    def call(function: str, query: bytes, timeout: float, user_id: str | None) -> Outcome:
        try:
            return module.call_bytes(function, query, timeout=timeout or None, user_id=user_id), b""
        except FunctionError as error:
            return _reported_failure(str(error), error.reason), b""
        except TimeoutError as error:
            return Failure(reason=Reason.TIMEOUT, message=str(error)), b""
        except WorkerEndedError as error:
            return Failure(reason=Reason.HANDLER, message=str(error)), b""

    try:
        with run_compute_module(command, concurrency=concurrency) as module:
            yield call
    except WorkerEndedError as error:
        raise NoRuntimeError(str(error)) from None


def _reported_failure(message: str, reason: str | None) -> Failure:
    """Return the failure that an error result reports. Only cm-exec gives such a reason."""
    known = reason if reason in set(Reason) else None
    return Failure(reason=Reason(known) if known else Reason.HANDLER, message=message)


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


def run_session(args: FunctionTestArgs, find_problem: Callable[[Function], str]) -> int:
    """Run the tests, print, and return the exit status. Raises ConfigError, click.UsageError.

    `find_problem` says what is wrong with the command of a function whose tests failed.
    """
    config = load_config(args.config_path)
    cases = read_cases(select_tests(config, args.names, args.config_path), args.config_path)
    if args.junit_path is not None:
        _write(args.junit_path, b"")
    if args.is_remote:
        return RemoteTestSession(config, cases, args).run()
    writer = start_log(_STDERR, "text", "warning")
    show_messages_once()
    session = FunctionTestSession(config, cases, args)
    try:
        run_supervised(session.work, session.signalled)
    finally:
        session.finish()
        writer.close()
    problems = (find_problem(config.functions[name]) for name in session.failed_functions())
    for problem in dict.fromkeys(filter(None, problems)):
        click.echo(f"cm-exec: {args.config_path}: {problem}", err=True)
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

    def failed_functions(self) -> dict[str, None]:
        """Return the functions of which a test failed, in the order of their ends."""
        return dict.fromkeys(one.case.test.function for one in self._completed if one.problem is not None)

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
        self._report = FunctionTestReport(
            args.config_path, dev_options=args.dev_options, worker_command=args.worker_command
        )
        self._completed: list[CompletedTest] = []

    def run(self) -> int:
        """Run the tests, print, and return the exit status. Raises NoRuntimeError, click.UsageError."""
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
