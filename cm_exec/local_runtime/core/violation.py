"""Violations of the compute module protocol."""

from dataclasses import dataclass
from enum import StrEnum


class ViolationKind(StrEnum):
    """Which rule was broken; part of the console's contract."""

    UNANSWERED = "unanswered"
    """A job was taken and no result came: it holds its slot until the replica ends."""
    ANSWERED_TWICE = "answered_twice"
    LATE = "late"
    """A result for a job whose caller had given up, or that a restart had dropped."""
    UNKNOWN_JOB = "unknown_job"
    TRUNCATED = "truncated"
    """A result's body broke off, and what was posted after it has less: data are lost without a word."""
    CONTENT_TYPE = "content_type"
    OUTPUT_TYPE = "output_type"
    """The result is not of the type that the function's schema declares."""
    INVALID_SCHEMA = "invalid_schema"
    POLLS_STOPPED = "polls_stopped"
    UNAUTHORIZED = "unauthorized"
    CONNECTION = "connection"
    """A request that never reached the protocol: TLS, address or method were wrong."""
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolViolation:
    """One breach. `at` is in seconds since the epoch; `job_id` and `function` where it is about a job."""

    number: int
    at: float
    kind: ViolationKind
    message: str
    job_id: str | None = None
    function: str | None = None
