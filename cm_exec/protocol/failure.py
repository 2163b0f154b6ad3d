"""Why a job failed, and the error result that says so.

The protocol has no channel for failures: a failed job is answered with a result that tells of it.
"""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

STDERR_TAIL: Final = 4096
"""How much of a handler's stderr an error result carries at most, in bytes: its end."""


class Reason(StrEnum):
    """The word under `reason` in an error result; part of the contract with callers."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output_limit"
    INVALID_OUTPUT = "invalid_output"
    NOT_STARTED = "not_started"
    UNKNOWN_FUNCTION = "unknown_function"
    MALFORMED_JOB = "malformed_job"
    SHUTDOWN = "shutdown"
    RESULT_REJECTED = "result_rejected"
    OUT_OF_STEP = "out_of_step"
    INVALID_QUERY = "invalid_query"


class Failure(Struct, frozen=True, kw_only=True):
    """A job that has no result.

    `message` is one sentence for the caller. `exit_code` is the handler's exit status; `signal` is the name of
    the signal that ended it, such as "SIGKILL"; `stderr` is the end of what it wrote there.
    """

    reason: Reason
    message: str
    exit_code: int | None = None
    signal: str | None = None
    stderr: bytes = b""


def error_body(failure: Failure, *, job_id: str, query_type: str) -> bytes:
    """The JSON object that is posted in place of a result."""
    members: dict[str, str | int] = {
        "error": failure.message,
        "reason": failure.reason.value,
        "jobId": job_id,
        "queryType": query_type,
    }
    if failure.exit_code is not None:
        members["exitCode"] = failure.exit_code
    if failure.signal is not None:
        members["signal"] = failure.signal
    if failure.stderr:
        members["stderr"] = _text_tail(failure.stderr)
    return msgspec.json.encode(members)


def _text_tail(stderr: bytes) -> str:
    tail = stderr[-STDERR_TAIL:]
    if len(stderr) > STDERR_TAIL:
        tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character that was cut in two
    return tail.decode(errors="replace")
