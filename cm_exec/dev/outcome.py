"""Whether a result tells of a failure: the protocol has no channel for it, so the known forms are recognised."""

from typing import Final

import msgspec

_LARGEST: Final = 1024 * 1024
_OURS: Final = frozenset({"error", "reason", "jobId", "queryType", "exitCode", "signal", "stderr"})
_JAVA: Final = b"JobId: "


def is_error_result(body: bytes, job_id: str) -> bool:
    """Whether the body is an error as cm-exec or one of the official SDKs writes it.

    Python: `{"exception"}` or `{"error"}`; TypeScript: `{"error"}` or `{"error", "reason"}`; Java: a text that
    starts with the job's id; cm-exec: `{"error", "reason", "jobId", "queryType", ...}`.
    """
    if len(body) > _LARGEST:
        return False
    if body.startswith(_JAVA):
        return body.startswith(_JAVA + job_id.encode())
    if b'"error"' not in body[:4096] and not body.startswith(b'{"exception"'):
        return False
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return _is_error(members)


def _is_error(members: dict[str, msgspec.Raw]) -> bool:
    if members.keys() == {"exception"}:
        return bytes(members["exception"]).startswith(b'"')
    return "error" in members and members.keys() <= _OURS and bytes(members["error"]).startswith(b'"')
