"""Results that report a failure."""

import json

import pytest

from cm_exec.local_runtime.core.result import ReportedFailure, reported_failure
from cm_exec.protocol.failure import Failure, Reason, error_body


def test_cm_execs_own() -> None:
    """An error result of cm-exec is parsed with all its fields."""
    failure = Failure(reason=Reason.EXIT, message="it ended with exit status 3", exit_code=3, stderr=b"no")
    body = error_body(failure, job_id="j", query_type="f")
    assert reported_failure(body, "j") == ReportedFailure(
        message="it ended with exit status 3", reason="exit", exit_code=3
    )


def test_cm_execs_own_by_signal() -> None:
    """An error result of cm-exec has the signal that ended the handler."""
    failure = Failure(reason=Reason.SIGNAL, message="it was killed", signal="SIGKILL")
    assert reported_failure(error_body(failure, job_id="j", query_type="f"), "j") == ReportedFailure(
        message="it was killed", reason="signal", signal="SIGKILL"
    )


@pytest.mark.parametrize(
    ("body", "message", "reason"),
    [
        (b'{"exception": "bad: Traceback (most recent call last):\\n  File"}', "bad", None),
        (b'{"exception": "first line\\nsecond"}', "first line", None),
        (b'{"error": "Unknown query type"}', "Unknown query type", None),
        (b'{"error": "Error", "reason": "no luck"}', "Error: no luck", None),
        (b"JobId: j\njava.lang.Error: no luck\n\tat A.b", "java.lang.Error: no luck", None),
        (b"JobId: j", "JobId: j", None),
    ],
)
def test_sdk_errors(body: bytes, message: str, reason: str | None) -> None:
    """The error results of the SDKs are recognized."""
    assert reported_failure(body, "j") == ReportedFailure(message=message, reason=reason)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"error",
        b'"error"',
        b'["error"]',
        b'{"error": null}',
        b'{"error": 0, "value": 1}',
        b'{"error": "rate", "value": 0.1}',
        b'{"exception": 1}',
        b'{"exception": "a", "more": 1}',
        b'{"error": "cut',
        b'{"error": "\xff"}',
        b"JobId: another\nError",
        json.dumps({"error": "x" * 2_000_000}).encode(),
    ],
)
def test_results(body: bytes) -> None:
    """A result that is no error result is not taken for a failure."""
    assert reported_failure(body, "j") is None
