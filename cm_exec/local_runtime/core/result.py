"""What a posted result is: the protocol calls all of them octets, and has no other channel for a failure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from cm_exec.protocol.failure import Reason


class MediaKind(StrEnum):
    """How a result is best shown."""

    EMPTY = "empty"
    JSON = "json"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class MediaType:
    """`media_type` is a MIME type, `extension` a file name's, with its dot."""

    kind: MediaKind
    media_type: str
    extension: str


SNIFF_LIMIT: Final = 1024 * 1024
"""Sniffing limit in bytes; longer JSON is recognised by its first character."""

_EMPTY: Final = MediaType(MediaKind.EMPTY, "application/octet-stream", "")
_JSON: Final = MediaType(MediaKind.JSON, "application/json", ".json")
_TEXT: Final = MediaType(MediaKind.TEXT, "text/plain; charset=utf-8", ".txt")
_BINARY: Final = MediaType(MediaKind.BINARY, "application/octet-stream", ".bin")


def _is_svg(body: bytes) -> bool:
    start = body[:1024].lstrip()
    return start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start)


_MAGIC: Final[tuple[tuple[Callable[[bytes], bool], MediaType], ...]] = (
    (lambda b: b.startswith(b"\x89PNG\r\n\x1a\n"), MediaType(MediaKind.IMAGE, "image/png", ".png")),
    (lambda b: b.startswith(b"\xff\xd8\xff"), MediaType(MediaKind.IMAGE, "image/jpeg", ".jpg")),
    (lambda b: b.startswith((b"GIF87a", b"GIF89a")), MediaType(MediaKind.IMAGE, "image/gif", ".gif")),
    (lambda b: b[:4] == b"RIFF" and b[8:12] == b"WEBP", MediaType(MediaKind.IMAGE, "image/webp", ".webp")),
    (lambda b: b[4:12] in {b"ftypavif", b"ftypavis"}, MediaType(MediaKind.IMAGE, "image/avif", ".avif")),
    (lambda b: b.startswith(b"BM") and b[6:10] == bytes(4), MediaType(MediaKind.IMAGE, "image/bmp", ".bmp")),
    (_is_svg, MediaType(MediaKind.IMAGE, "image/svg+xml", ".svg")),
    (lambda b: b.startswith(b"%PDF-"), MediaType(MediaKind.PDF, "application/pdf", ".pdf")),
    (lambda b: b[:4] == b"RIFF" and b[8:12] == b"WAVE", MediaType(MediaKind.AUDIO, "audio/wav", ".wav")),
    (lambda b: b.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3")), MediaType(MediaKind.AUDIO, "audio/mpeg", ".mp3")),
    (lambda b: b.startswith(b"OggS"), MediaType(MediaKind.AUDIO, "audio/ogg", ".ogg")),
    (lambda b: b.startswith(b"fLaC"), MediaType(MediaKind.AUDIO, "audio/flac", ".flac")),
    (lambda b: b[4:8] == b"ftyp", MediaType(MediaKind.VIDEO, "video/mp4", ".mp4")),
    (lambda b: b.startswith(b"\x1aE\xdf\xa3"), MediaType(MediaKind.VIDEO, "video/webm", ".webm")),
)


def sniff(body: bytes, size: int) -> MediaType:
    """Return the media type of a body of `size` bytes by `body`, its first `SNIFF_LIMIT` bytes at least."""
    if size == 0:
        return _EMPTY
    found = next((media for matches, media in _MAGIC if matches(body)), None)
    if found is not None:
        return found
    if not _is_text(body, whole=len(body) >= size):
        return _BINARY
    return _JSON if _is_json(body, whole=len(body) >= size) else _TEXT


def _is_text(body: bytes, *, whole: bool) -> bool:
    if any(control in body for control in (b"\0", b"\x01", b"\x02", b"\x7f")):
        return False
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return not whole and error.start > len(body) - 4  # a character cut in two
    return True


def _is_json(body: bytes, *, whole: bool) -> bool:
    if not whole:
        return body.lstrip()[:1] in {b"{", b"["}
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


T = TypeVar("T")

LARGEST: Final = 1024 * 1024
"""A larger body, in bytes, is not looked at."""

_ALWAYS_OURS: Final = frozenset({"error", "reason", "jobId", "queryType"})
_OURS: Final = frozenset({"error", "reason", "jobId", "queryType", "exitCode", "signal", "status", "stderr", "output"})


class ReportedFailure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an error result says. All but `message` come from cm-exec only; the TypeScript SDK gives a reason too."""

    message: str
    reason: str | None = None
    exit_code: int | None = None
    signal: str | None = None


def reported_failure(body: bytes, job_id: str, *, of_sdks: bool = True) -> ReportedFailure | None:
    """Return the failure that the body reports in the way of cm-exec or an official SDK, None for a result.

    Python: `{"exception"}` or `{"error"}`; TypeScript: `{"error"}` or `{"error", "reason"}`; Java: a text that
    starts with the job's id; cm-exec: `{"error", "reason", "jobId", "queryType", ...}`. Without `of_sdks` only this
    one is a failure: where cm-exec runs the functions, the others are results.
    """
    if len(body) > LARGEST:
        return None
    if of_sdks and body.startswith(b"JobId: "):
        return _of_java(body, job_id)
    if b'"error"' not in body[:256] and b'"exception"' not in body[:256]:
        return None
    try:
        members = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(members, dict) or not (of_sdks or members.keys() >= _ALWAYS_OURS):
        return None
    return _of_members(members)


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
        if not members.keys() >= _ALWAYS_OURS:
            return None
        error = msgspec.json.encode(error).decode()  # the handler's own error, in an error result of cm-exec
    reason = _one(members.get("reason"), str)
    if members.keys() == {"error", "reason"} and reason and reason not in set(Reason):
        return ReportedFailure(message=f"{error}: {reason}")  # TypeScript: the error's class, and its text
    return ReportedFailure(
        message=error,
        reason=reason,
        exit_code=_one(members.get("exitCode"), int),
        signal=_one(members.get("signal"), str),
    )


def _one(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None
