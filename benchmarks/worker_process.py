"""A worker under measurement: its command started in a group of its own, and ended with all that belongs to it."""

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
"""How long a worker may take to end after SIGTERM, in seconds."""

CONTAINER = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
"""What a worker finds in its environment besides the runtime's variables, as in the official Python images.

The same for all: a `cat` takes a quarter of its time to load a locale.
"""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """`started` is the time before the start, in seconds of `time.monotonic`; `log` holds what it wrote."""

    process: "subprocess.Popen[bytes]"
    started: float
    log: Path

    def usage(self) -> Usage:
        return usage(self.process.pid)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self) -> str:
        """The last line of its log, to show when it fails."""
        lines = self.log.read_bytes()[-4000:].decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def worker(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[WorkerProcess]:
    """Run a worker until the end of the block. Its output goes to `log`, as a container's goes to a collector."""
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
        os.killpg(process.pid, signal.SIGKILL)  # what a worker leaves behind, such as the SDK's pool
    process.wait()
