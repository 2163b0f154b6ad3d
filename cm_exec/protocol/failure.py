"""The error results of jobs that fail."""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

STDERR_TAIL: Final = 4096
"""Bytes of the end of a handler's stderr in an error result."""

OUTPUT_EXCERPT: Final = 256
"""Bytes of wrong or incomplete output in an error result."""

_LONGEST_NAME: Final = 256
"""Characters of a function's name in an error result; callers choose it, and may send megabytes."""


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
    HANDLER = "handler"
    HTTP_STATUS = "http_status"


class Failure(Struct, frozen=True, kw_only=True):
    """A job that has no result.

    `message` is one sentence for the caller. `exit_code` is the handler's exit status; `signal` is the name of the
    signal that ended it, such as "SIGKILL"; `status` is an HTTP status; `stderr` is the end of what it wrote there;
    `output` is output that was wrong or incomplete, of which at most `output_limit` bytes are shown, or JSON as a whole
    if `output_is_json`; `error` is the handler's own error, as JSON.
    """

    reason: Reason
    message: str
    exit_code: int | None = None
    signal: str | None = None
    status: int | None = None
    stderr: bytes = b""
    output: bytes = b""
    output_limit: int = OUTPUT_EXCERPT
    output_is_json: bool = False
    error: msgspec.Raw | None = None


class JobFailedError(Exception):
    """Raised when a job gets no result."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class StreamAbortedError(Exception):
    """Raised to the reader of a streamed result that ends without being complete."""


def error_body(failure: Failure, *, job_id: str, query_type: str) -> bytes:
    """Return the JSON object that is posted as the result of a failed job."""
    members: dict[str, str | int | msgspec.Raw] = {
        "error": failure.message if failure.error is None else failure.error,
        "reason": failure.reason.value,
        "jobId": job_id,
        "queryType": short_name(query_type),
    }
    if failure.exit_code is not None:
        members["exitCode"] = failure.exit_code
    if failure.signal is not None:
        members["signal"] = failure.signal
    if failure.status is not None:
        members["status"] = failure.status
    if failure.stderr:
        members["stderr"] = _text_tail(failure.stderr)
    if failure.output:
        members["output"] = _output_member(failure)
    return msgspec.json.encode(members)


def _output_member(failure: Failure) -> str | msgspec.Raw:
    if failure.output_is_json:
        return msgspec.Raw(failure.output.strip())
    return failure.output[: failure.output_limit].decode(errors="replace")


def short_name(name: str) -> str:
    """Return a function's name, or its beginning if it is very long."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def _text_tail(stderr: bytes) -> str:
    tail = stderr[-STDERR_TAIL:]
    if len(stderr) > STDERR_TAIL:
        tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character that was cut in two
    return tail.decode(errors="replace")
