"""One run of the worker: its log, its signals, its exit code."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from cm_exec import __version__
from cm_exec.cli.logs import start_log
from cm_exec.cli.options import configured
from cm_exec.cli.supervision import EndAtOnce, supervise
from cm_exec.config import Config, LauncherOverrides
from cm_exec.errors import exit_code_of
from cm_exec.handlers.environment import launcher_environment
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.modes import create_handlers, shares
from cm_exec.handlers.spool import spool_directory
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.environment import COMPUTE_SESSION_ID, MAX_CONCURRENT_TASKS
from cm_exec.protocol.function_schema import schemas_body
from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.location import Location, wait_for_location
from cm_exec.worker import Worker

log: Final = logging.getLogger(__name__)

_STDOUT: Final = 1


def launch(config_path: Path, overrides: LauncherOverrides) -> NoReturn:
    """Run the worker and end the program with its exit code. Raises ConfigError, click.UsageError, and as `work`."""
    config = configured(config_path, overrides)
    launcher = config.launcher
    writer = start_log(_STDOUT, launcher.log_format, launcher.log_level, os.environ.get(COMPUTE_SESSION_ID, ""))
    run = Launch(config, os.environ)
    try:
        supervise(run.work, run.signalled)
    except Exception as error:
        if exit_code_of(error) is not None:
            log.error("%s", error)  # noqa: TRY400 - stdout may be all that is collected
        raise
    finally:
        writer.close()
    _end(run.exit_code)


class Launch:
    """One run of the worker, from its start to its exit code."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self._surroundings = Surroundings(
            environment=launcher_environment(), spool_directory=spool_directory(), stop=StopNow()
        )
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._worker: Worker | None = None
        self.exit_code = 0

    def work(self) -> None:
        """Find the runtime, then work until the drain is over. Raises NoRuntimeError, RuntimeRefusedError."""
        try:
            location = wait_for_location(self._environ, self._stopping.wait)
            if location is None:
                return
            worker = self._worker = self._create_worker(location)
            if self._stopping.is_set():
                worker.drain()
            worker.run()
        finally:
            self._ended.set()
        if worker.error is not None:
            raise worker.error
        if worker.lost:
            log.error("exit; %d jobs are not answered: the restart notification will free them", worker.lost)
        else:
            log.info("exit; all jobs are answered")

    def signalled(self, which: signal.Signals, how_often: int) -> None:
        """Drain at the first signal; end every process at the second, and exit when that is told, or in a second."""
        if how_often == 1:
            log.info("%s: no further jobs are asked for", which.name)
            self._stopping.set()
            if self._worker is not None:
                self._worker.drain()
            return
        log.warning("%s again: ending at once", which.name)
        self._surroundings.kill_all()
        if self._worker is not None:
            self._worker.drain(wait_for_poll=False)
        self._ended.wait(1.0)
        self.exit_code = 128 + which
        raise EndAtOnce

    def _create_worker(self, location: Location) -> Worker:
        config, launcher = self._config, self._config.launcher
        concurrency = launcher.concurrency or _concurrency_of_platform(self._environ)
        handlers = create_handlers(config.functions.values(), self._surroundings, concurrency)
        worker = Worker(
            runtime=RuntimeClient(self._environ, location, launcher.tls_server_name),
            handlers=handlers,
            surroundings=self._surroundings,
            shares=shares(config.functions.values()),
            schemas=schemas_body(f.schema for f in config.functions.values()),
            concurrency=concurrency,
            drain_timeout=launcher.drain_timeout,
        )
        log.info(
            "cm-exec %s: functions %s; concurrency %d; runtime %s; large results wait in %s",
            __version__,
            ", ".join(config.functions),
            concurrency,
            location.job.origin,
            self._surroundings.spool_directory or "memory (no temporary folder is writable)",
        )
        return worker


def _concurrency_of_platform(environ: Mapping[str, str]) -> int:
    text = environ.get(MAX_CONCURRENT_TASKS, "1")
    try:
        return max(1, int(text))
    except ValueError:
        log.warning("%s is %r, which is no number; taking 1", MAX_CONCURRENT_TASKS, text)
        return 1


def _end(exit_code: int) -> NoReturn:
    """Exit without waiting for threads: they may hang in a read or a write that nobody waits for any more."""
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(exit_code)
