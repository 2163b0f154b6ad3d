"""What handlers and worker wrote, line by line, by job. The newest lines are kept."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

LINES_A_JOB: Final = 500
LINES_OF_NO_JOB: Final = 1000
LONGEST_LINE: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """`at` in seconds since the epoch; `stream` is where it was written: stderr, stdout, or the worker's log."""

    job_id: str | None
    at: float
    line: str
    stream: str


@dataclass(slots=True)
class Lines:
    """Some lines, and how many there were before them."""

    kept: deque[LogLine]
    total: int = 0

    @property
    def dropped(self) -> int:
        """How many are not kept any more."""
        return self.total - len(self.kept)


@dataclass(slots=True)
class JobLog:
    """The lines of all jobs that are known, and those of no job under None."""

    _lines: dict[str | None, Lines] = field(default_factory=dict)

    def add(self, line: LogLine) -> None:
        """Keep a line."""
        lines = self._lines.get(line.job_id)
        if lines is None:
            most = LINES_OF_NO_JOB if line.job_id is None else LINES_A_JOB
            lines = self._lines[line.job_id] = Lines(kept=deque(maxlen=most))
        lines.kept.append(line)
        lines.total += 1

    def of(self, job_id: str | None) -> Lines:
        """Return a job's lines, the oldest first."""
        return self._lines.get(job_id) or Lines(kept=deque())

    def forget(self, job_id: str) -> None:
        """Drop what belongs to an evicted job."""
        self._lines.pop(job_id, None)


def shortened(line: str) -> str:
    """Return a line as it is kept: without its end, and at most `LONGEST_LINE` characters."""
    line = line.rstrip("\r\n")
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}… ({len(line)} characters)"
