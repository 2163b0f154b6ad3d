"""The worker's process, and its log."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.demo.narration import Narration

DEADLINE: Final = 60.0
"""The longest wait for anything, in seconds; far more than is needed."""


class WorkerGoneError(Exception):
    """Raised when the worker ended unexpectedly."""


@dataclass(kw_only=True)
class WorkerLog:
    """Shows the worker's log as it comes."""

    narration: Narration
    _lines: list[str] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def relay(self, stream: Iterable[str]) -> None:
        """Show each line, to the end of the stream."""
        for line in stream:
            self.narration.quote(line, margin="      worker | ")
            with self._more:
                self._lines.append(line)
                self._more.notify_all()

    def wait_for_end_of(self, job_id: str) -> None:
        """Wait briefly for the job's last line, so that the output stays in order."""
        with self._more:
            self._more.wait_for(lambda: any(job_id in line and " ms," in line for line in self._lines), timeout=1)


@contextmanager
def worker_process(folder: Path, environment: dict[str, str], log: WorkerLog) -> Iterator[subprocess.Popen[str]]:
    """Run `cm-exec run` as a container would start it, and show its log."""
    with subprocess.Popen(
        [Path(sys.executable).with_name("cm-exec"), "run", "--config", folder / "cm.toml"],
        env={**_without_settings(os.environ), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as worker:
        relay = threading.Thread(target=log.relay, args=(worker.stdout,))
        relay.start()
        try:
            yield worker
        finally:
            worker.terminate()
            try:
                worker.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                worker.kill()
            relay.join(DEADLINE)


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without settings that would override cm.toml."""
    return {name: value for name, value in environment.items() if not name.startswith("CM_EXEC_")}
