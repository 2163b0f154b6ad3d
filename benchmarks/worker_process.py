"""A worker under measurement. It runs in its own process group, which is ended with it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Usage, usage

GRACE = 10.0
"""Seconds that a worker has to end after SIGTERM."""

CONTAINER = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
"""The environment of a worker besides the variables of the runtime, as in the official Python images.

It is the same for all: `cat` spends a quarter of its time on loading a locale.
"""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """`started` is the `time.monotonic` before the start; `log` is the file with its output."""

    process: "subprocess.Popen[bytes]"
    started: float
    log: Path

    def usage(self) -> Usage:
        return usage(self.process.pid)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self) -> str:
        """Return the last line of its log, for an error message."""
        lines = self.log.read_bytes()[-4000:].decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def worker(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[WorkerProcess]:
    """Run a worker until the end of the block, with its output in the file `log`."""
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**CONTAINER, **environment},
            start_new_session=True,
        )
    try:
        yield WorkerProcess(process, started, log)
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # processes that outlive the worker, such as the pool of the SDK
    process.wait()
