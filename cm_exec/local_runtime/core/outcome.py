"""Recognise results that report a failure: the protocol has no other channel for it."""

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

LARGEST: Final = 1024 * 1024
"""A larger body, in bytes, is not looked at."""

_OURS: Final = frozenset({"error", "reason", "jobId", "queryType", "exitCode", "signal", "status", "stderr", "output"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFailure:
    """What an error result says. All but `message` come from cm-exec only; the TypeScript SDK gives a reason too."""

    message: str
    reason: str | None = None
    exit_code: int | None = None
    signal: str | None = None


def reported_failure(body: bytes, job_id: str) -> ReportedFailure | None:
    """Return the failure that the body reports in the way of cm-exec or an official SDK, None for a result.

    Python: `{"exception"}` or `{"error"}`; TypeScript: `{"error"}` or `{"error", "reason"}`; Java: a text that
    starts with the job's id; cm-exec: `{"error", "reason", "jobId", "queryType", ...}`.
    """
    if len(body) > LARGEST:
        return None
    if body.startswith(b"JobId: "):
        return _of_java(body, job_id)
    if b'"error"' not in body[:256] and b'"exception"' not in body[:256]:
        return None
    try:
        members = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _of_members(members) if isinstance(members, dict) else None


def _of_java(body: bytes, job_id: str) -> ReportedFailure | None:
    if not body.startswith(b"JobId: " + job_id.encode()):
        return None
    lines = body.decode(errors="replace").splitlines()
    return ReportedFailure(message=lines[1].strip() if len(lines) > 1 else lines[0])


def _of_members(members: dict[str, Any]) -> ReportedFailure | None:
    if members.keys() == {"exception"} and isinstance(members["exception"], str):
        first_line = members["exception"].partition(": Traceback")[0].partition("\n")[0]
        return ReportedFailure(message=first_line)
    if not members.keys() <= _OURS or "error" not in members:
        return None
    error = members["error"]
    if not isinstance(error, str):
        if not {"reason", "jobId", "queryType"} <= members.keys():
            return None
        error = msgspec.json.encode(error).decode()  # the handler's own error, in an error result of cm-exec
    return ReportedFailure(
        message=error,
        reason=_one(members.get("reason"), str),
        exit_code=_one(members.get("exitCode"), int),
        signal=_one(members.get("signal"), str),
    )


def _one(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None
