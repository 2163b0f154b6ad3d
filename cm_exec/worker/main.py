"""One run of the worker, from its configuration to its exit code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn

from cm_exec import __version__
from cm_exec.config import Config
from cm_exec.errors import exit_code_of
from cm_exec.handlers import HandlerContext
from cm_exec.handlers.factory import concurrency_limits, create_handlers
from cm_exec.handlers.outcome import StderrLogger
from cm_exec.processes.signals import run_supervised
from cm_exec.protocol import Job
from cm_exec.protocol.environment import COMPUTE_SESSION_ID, MAX_CONCURRENT_TASKS
from cm_exec.protocol.failure import short_name
from cm_exec.protocol.function_schema import schemas_body
from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.endpoints import RuntimeEndpoints, wait_for_endpoints
from cm_exec.runtime.retry import RetryLimits
from cm_exec.worker.job import JobRunner
from cm_exec.worker.logging import start_log
from cm_exec.worker.queue import JobQueue, TruncatedJobs
from cm_exec.worker.readiness import ReadinessSign
from cm_exec.worker.worker import DrainTimes, Worker

log: Final = logging.getLogger("cm_exec.worker")

_STDOUT: Final = 1
_STDERR: Final = 2


def run_worker(config: Config) -> NoReturn:
    """Run the worker and end the program with its exit code. Raises NoRuntimeError, AuthenticationError."""
    launcher = config.launcher
    writer = start_log(_STDOUT, launcher.log_format, launcher.log_level, os.environ.get(COMPUTE_SESSION_ID, ""))
    run = WorkerRun(config, os.environ)
    try:
        run_supervised(run.work, run.signalled)
    except Exception as error:
        code = exit_code_of(error)
        shows_both = _goes_with_stderr(_STDOUT)
        if code is not None and not (shows_both and os.isatty(_STDOUT)):
            log.error("%s", error)  # noqa: TRY400 - stdout may be all that is collected
            if shows_both:
                raise SystemExit(code) from None
        raise
    finally:
        writer.close()
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(run.exit_code)  # without waiting for helper threads: they may hang in a connect


def _goes_with_stderr(fd: int) -> bool:
    """Return whether a descriptor and stderr lead to the same file, pipe or terminal."""
    with suppress(OSError):
        return os.path.sameopenfile(fd, _STDERR)
    return False


class WorkerRun:
    """Finds the runtime, creates the worker, and passes signals on to it."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self._limits = RetryLimits()
        self._context = HandlerContext.from_process()
        if config.launcher.log_level == "debug":
            self._context.on_delay = _log_delay
        self._stopping = False
        self._waiting: asyncio.Task[RuntimeEndpoints] | None = None
        self._worker: Worker | None = None
        self.exit_code = 0

    async def work(self) -> None:
        """Find the runtime, then work until the drain is over."""
        self._waiting = asyncio.ensure_future(wait_for_endpoints(self._environ, self._limits.files))
        try:
            endpoints = await self._waiting
        except asyncio.CancelledError:
            return
        client = RuntimeClient(self._environ, endpoints, self._config.launcher.tls_server_name, self._limits)
        worker = self._worker = self._create_worker(client)
        if self._stopping:
            worker.drain()
        try:
            await worker.run()
        finally:
            self._context.kill_all()  # what jobs that were given up have left
            client.close()
        if worker.lost:
            log.error("exiting; %d jobs are not answered: the restart notification will release them", worker.lost)
        else:
            log.info("exiting; all jobs answered")

    def signalled(self, which: signal.Signals, count: int) -> None:
        """Drain at the first signal; at the second end every process, and exit."""
        if count == 1:
            log.info("%s received; no longer accepting jobs", which.name)
            self._stopping = True
            if self._worker is not None:
                self._worker.drain()
            elif self._waiting is not None:
                self._waiting.cancel()
            return
        log.warning("%s again: ending at once", which.name)
        self.exit_code = 128 + which
        self._context.kill_all()
        if self._worker is not None:
            self._worker.give_up_soon()

    def _create_worker(self, client: RuntimeClient) -> Worker:
        config, launcher, context = self._config, self._config.launcher, self._context
        functions = config.functions.values()
        concurrency = launcher.concurrency or _platform_concurrency(self._environ)
        handlers = create_handlers(functions, context, concurrency)
        runner = JobRunner(
            handlers,
            client.reporter,
            open_stderr=_open_stderr,
            abort=context.abort,
            is_stopping=lambda: context.stopping,
        )
        schemas = schemas_body(f.schema for f in functions)
        log.info(
            "cm-exec %s: functions %s; concurrency %d; runtime %s; large results are kept in %s",
            __version__,
            ", ".join(config.functions),
            concurrency,
            client.endpoints.job.origin,
            context.spool_directory or "memory (no temporary folder is writable)",
        )
        return Worker(
            source=client.poller,
            handlers=handlers,
            queue=JobQueue(concurrency, concurrency_limits(functions)),
            truncated=TruncatedJobs(self._limits.redelivery),
            register=lambda: client.register(schemas),
            answer=runner.answer,
            end_jobs=context.abort_all,
            drain_times=DrainTimes(jobs=launcher.drain_timeout),
            waits_for_handlers=launcher.wait_for_services,
            is_polling=ReadinessSign(self._environ).show,
        )


def _open_stderr(job: Job, tags: Mapping[str, str]) -> StderrLogger:
    return StderrLogger(tags, job.redact)


def _log_delay(job: Job, seconds: int, obstacle: str) -> None:
    tags = {"function": short_name(job.query_type), "job_id": short_name(job.job_id)}
    log.debug("no result after %d s: %s", seconds, obstacle, extra={"tags": tags})


def _platform_concurrency(environ: Mapping[str, str]) -> int:
    text = environ.get(MAX_CONCURRENT_TASKS, "1")
    try:
        return max(1, int(text))
    except ValueError:
        log.warning("%s is %r, not a number; using 1", MAX_CONCURRENT_TASKS, text)
        return 1
