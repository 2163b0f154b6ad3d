"""Jobs of the local runtime as values: their life, the body that a poll is answered with, and their log."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Final

import msgspec

from cm_exec.local_runtime.core.result import MediaType, ReportedFailure
from cm_exec.local_runtime.core.worker_status import ProtocolViolation


class State(StrEnum):
    """Where a job stands, as its caller sees it. A final state stays, and the ledger reports what was wrong."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Answered with an error result, or given up by its caller."""
    LOST = "lost"
    """The worker was restarted, or went away, while it had the job."""

    @property
    def final(self) -> bool:
        """Whether the caller has its answer."""
        return self not in _OPEN


_OPEN: Final = frozenset({State.QUEUED, State.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for. `query` is JSON text, handed on byte for byte; `timeout` in seconds, None for none.

    `replay_of` is the id of the job whose query is sent again.
    """

    function: str
    query: bytes = field(repr=False)
    user_id: str | None = None
    auth_header: str | None = field(default=None, repr=False)
    temporary_credentials_auth_token: str | None = field(default=None, repr=False)
    timeout: float | None = None
    replay_of: str | None = None


def job_body(job_id: str, submission: Submission, *, enveloped: bool = True) -> tuple[bytes, bytes, bytes]:
    """Return head, query and tail of the body that a poll is answered with; apart, to copy no large query.

    The plain API hands out jobs without the envelope.
    """
    head = b'{"jobId":%b,"queryType":%b,"query":' % (
        msgspec.json.encode(job_id),
        msgspec.json.encode(submission.function),
    )
    optional = {
        b"temporaryCredentialsAuthToken": submission.temporary_credentials_auth_token,
        b"authHeader": submission.auth_header,
        b"userId": submission.user_id,
    }
    members = b"".join(b',"%b":%b' % (n, msgspec.json.encode(v)) for n, v in optional.items() if v is not None)
    if not enveloped:
        return head, submission.query, members + b"}"
    return b'{"type":"computeModuleJobV1","computeModuleJobV1":' + head, submission.query, members + b"}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedResult:
    """What a worker posted for a job, without its bytes.

    `size` in bytes; `streamed` where it came chunked; `failure` where it is an error result; `mismatch` where it is
    not what the function's schema declares: a sentence.
    """

    size: int
    content_type: str | None
    streamed: bool
    media: MediaType
    failure: ReportedFailure | None = None
    mismatch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeJob:
    """A job as it stands. Times are in seconds since the epoch; `number` counts the jobs from 1.

    `in_hand` says that a worker has it and owes a result, which may be so after the caller gave up; `attempts` is
    how often it was handed out; `reason` says why it failed or was lost.
    """

    job_id: str
    number: int
    submission: Submission
    state: State
    created: float
    started: float | None = None
    first_byte: float | None = None
    ended: float | None = None
    answer: PostedResult | None = None
    outstanding: bool = False
    attempts: int = 0
    reason: str | None = None

    @property
    def function(self) -> str:
        """The function that was called."""
        return self.submission.function

    @property
    def query(self) -> bytes:
        """The query's JSON text."""
        return self.submission.query


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """A job fell out of the history."""

    job_id: str


Change = RuntimeJob | ProtocolViolation | Evicted


class PostOutcome(Enum):
    """What the ledger makes of a posted result."""

    ACCEPTED = auto()
    REPEATED = auto()
    """The job had its answer; the first one stays."""
    LATE = auto()
    """The caller had given up; the result is kept for the history."""
    DROPPED = auto()
    """A restart had thrown the job away."""
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The runtime's limits.

    `slots` is the most jobs a worker may have at once, None for no limit; `history` how many ended jobs are kept,
    with queries of `history_bytes` together at most; `answer_grace` is how long, in
    seconds, a job may be out after its caller gave up before it is called unanswered.
    """

    slots: int | None = 1
    history: int = 1000
    history_bytes: int = 256 * 1024 * 1024
    answer_grace: float = 5.0


LINES_A_JOB: Final = 500
LINES_OF_NO_JOB: Final = 1000
LONGEST_LINE: Final = 8192


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
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
