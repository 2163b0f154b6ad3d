"""Jobs of the local runtime as values, and the body that a poll is answered with."""

from dataclasses import dataclass, field
from enum import Enum, auto

import msgspec

from cm_exec.local_runtime.core.lifecycle import State
from cm_exec.local_runtime.core.media_type import MediaType
from cm_exec.local_runtime.core.outcome import ReportedFailure
from cm_exec.local_runtime.core.violation import ProtocolViolation


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
