"""The worker that is measured: `cm-exec run` as a process, connected to a local runtime."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cm_exec.bench.jobs import MeasurementError
from cm_exec.devserver.child import worker_arguments
from cm_exec.devserver.worker_process import describe_exit, worker_environment
from cm_exec.local_runtime import LocalRuntime
from cm_exec.protocol import environment as names

_HIDDEN: Final = names.CONNECTION_VARIABLES | {
    names.MAX_CONCURRENT_TASKS,
    "CM_EXEC_TLS_SERVER_NAME",
    "CM_EXEC_DRAIN_TIMEOUT",
}
"""Variables of a worker in production that would keep this one away from the local runtime."""

_START_TIMEOUT: Final = 60.0
"""Seconds to the first poll, which persistent processes start before."""

_STOP_TIMEOUTS: Final = (5.0, 2.0)
"""Seconds that the worker has after the first SIGTERM, and after the second."""

_LOG_TAIL: Final = 2000
"""Bytes."""


class BenchWorker:
    """A worker that runs until the end of its context.

    It has a process group of its own: Ctrl-C on the terminal is for `bench`, which then stops the worker.
    """

    def __init__(self, runtime: LocalRuntime, config: Path, slots: int) -> None:
        self._runtime = runtime
        self._log = config.with_name("worker.log")
        arguments = ("--config", str(config), "--concurrency", str(slots), "--drain-timeout", "1")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                worker_arguments("run", *arguments),
                env=worker_environment(runtime.environment(), _HIDDEN),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def wait_for_poll(self, on_tick: Callable[[], None]) -> None:
        """Return at its first poll. Raises MeasurementError if it ends instead, or needs too long."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._runtime.open_polls:
            self.check()
            if time.monotonic() > deadline:
                raise MeasurementError(f"the worker did not poll within {_START_TIMEOUT:g} s{self._log_end()}")
            on_tick()
            time.sleep(0.01)

    def check(self) -> None:
        """Raise MeasurementError if it has ended."""
        if self._process.poll() is not None:
            raise MeasurementError(f"the worker {describe_exit(self._process.returncode)}{self._log_end()}")

    def _log_end(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
            text = log.read().decode(errors="backslashreplace").strip()
        return f"; its log ends: {text}" if text else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for seconds in _STOP_TIMEOUTS:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                return
        self._process.kill()
        self._process.wait()
