"""Start tests/support/drivers/jobs.py and read its reports."""

import base64
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Final, Self

from tests.support.processes import MARK, Process, marked, wait_until

JOBS: Final = Path(__file__).with_name("drivers") / "jobs.py"
LONG: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Driver:
    """A running driver. `jobs` has its reports on jobs, `reports` the others."""

    process: subprocess.Popen[bytes]
    mark: str
    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    _lines: Queue[bytes] = field(default_factory=Queue)

    def __enter__(self) -> Self:
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for left in marked(self.mark, self.folder):
            os.kill(left.pid, 9)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=LONG)
        except Empty:
            raise AssertionError(f"the driver reports nothing more; before: {self.jobs} {self.reports}") from None
        assert line, f"the driver ended with {self.process.wait()}; it reported {self.jobs} {self.reports}"
        report = json.loads(line)
        assert isinstance(report, dict)
        return report

    def wait_for_job(self, job_id: str) -> dict[str, Any]:
        """Return the outcome of the job when all its processes have ended."""
        while job_id not in self.jobs:
            self._take(self._next())
        return self.jobs[job_id]

    def result(self, job_id: str) -> bytes:
        return base64.b64decode(self.wait_for_job(job_id)["result"])

    def wait_for(self, **members: object) -> dict[str, Any]:
        """Return the first message with these members."""
        while True:
            for told in self.reports:
                if members.items() <= told.items():
                    return told
            self._take(self._next())

    def finish(self) -> dict[str, Any]:
        """Wait for the end of the program, and return its last report."""
        done = self.wait_for(end="work")
        self.wait_for(end="program")
        assert self.process.wait(LONG) == 0
        return done

    def _take(self, told: dict[str, Any]) -> None:
        if "job" in told:
            self.jobs[told["job"]] = told
        else:
            self.reports.append(told)

    def descendants(self) -> list[Process]:
        """Return the living processes that jobs have started."""
        return [p for p in marked(self.mark, self.folder) if p.pid != self.process.pid]

    def wait_until_alone(self) -> None:
        wait_until(lambda: not self.descendants(), what="the end of all processes", seconds=10)


def drive(
    folder: Path,
    config: str,
    jobs: Sequence[tuple[str, str] | tuple[str, str, str]],
    *,
    at_once: bool = False,
    without: Sequence[str] = (),
) -> Driver:
    """Start a driver for jobs `(id, function, query)` in `folder`, which must be the test's own."""
    mark = uuid.uuid4().hex
    spec = folder / "spec.json"
    members = [dict(zip(("id", "function", "query"), (*job, "null"), strict=False)) for job in jobs]
    spec.write_text(
        json.dumps({"config": config, "jobs": members, "at_once": at_once, "without": without, "spool": None})
    )
    process = subprocess.Popen(
        [sys.executable, JOBS, spec],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: mark},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    return Driver(process=process, mark=mark, folder=folder)
