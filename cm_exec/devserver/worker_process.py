"""The worker as a process beneath `cm-exec dev`, and the thread that reads its log."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from cm_exec.devserver.child import worker_arguments
from cm_exec.devserver.log_line import LogEntry, parse_log_line


class WorkerProcess:
    """One run of the worker. `on_line` and `on_end` are called from its thread.

    It is in a process group of its own: Ctrl-C on the terminal is for `dev`, which lets it drain.
    """

    def __init__(
        self,
        config_path: Path,
        environment: Mapping[str, str],
        *,
        on_line: Callable[[LogEntry], None],
        on_end: Callable[["WorkerProcess"], None],
    ) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._draining = False
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            worker_arguments("run", "--config", str(config_path), "--log-format", "sls", "--log-level", "info"),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._thread = threading.Thread(target=self._follow, name=f"worker-{self.pid}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status, -N after signal N; None while it runs."""
        return self._process.returncode

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    def drain(self) -> None:
        """Let it finish its jobs and end."""
        if not self._draining:
            self._draining = True
            self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Let it end its jobs and itself."""
        self.drain()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without asking."""
        self._signal(signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, and its log is read, within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _follow(self) -> None:
        stream: IO[bytes] | None = self._process.stdout
        assert stream is not None  # noqa: S101 - for the type checker
        with stream:
            for line in stream:
                self._on_line(parse_log_line(line))
        self._process.wait()
        self._on_end(self)


def describe_exit(code: int | None) -> str:
    """How a process ended, for people."""
    if code is None:
        return "runs"
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
    return f"ended with exit status {code}"


def worker_environment(variables: Mapping[str, str], hidden: frozenset[str]) -> dict[str, str]:
    """The environment for a worker: this process's own without `hidden`, and the runtime's variables."""
    own = {name: value for name, value in os.environ.items() if name not in hidden}
    return own | dict(variables)
