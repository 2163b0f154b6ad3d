"""What a result's bytes are, by their beginning: the protocol calls them all octets."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec


class Kind(StrEnum):
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
class Nature:
    """`media_type` is a MIME type, `extension` a file name's, with its dot."""

    kind: Kind
    media_type: str
    extension: str


LOOKED_AT: Final = 1024 * 1024
"""So many bytes decide at most; a longer JSON text is told by how it starts."""

_EMPTY: Final = Nature(Kind.EMPTY, "application/octet-stream", "")
_JSON: Final = Nature(Kind.JSON, "application/json", ".json")
_TEXT: Final = Nature(Kind.TEXT, "text/plain; charset=utf-8", ".txt")
_BINARY: Final = Nature(Kind.BINARY, "application/octet-stream", ".bin")


def _is_svg(body: bytes) -> bool:
    start = body[:1024].lstrip()
    return start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start)


_MAGIC: Final[tuple[tuple[Callable[[bytes], bool], Nature], ...]] = (
    (lambda b: b.startswith(b"\x89PNG\r\n\x1a\n"), Nature(Kind.IMAGE, "image/png", ".png")),
    (lambda b: b.startswith(b"\xff\xd8\xff"), Nature(Kind.IMAGE, "image/jpeg", ".jpg")),
    (lambda b: b.startswith((b"GIF87a", b"GIF89a")), Nature(Kind.IMAGE, "image/gif", ".gif")),
    (lambda b: b[:4] == b"RIFF" and b[8:12] == b"WEBP", Nature(Kind.IMAGE, "image/webp", ".webp")),
    (lambda b: b[4:12] in {b"ftypavif", b"ftypavis"}, Nature(Kind.IMAGE, "image/avif", ".avif")),
    (lambda b: b.startswith(b"BM") and b[6:10] == bytes(4), Nature(Kind.IMAGE, "image/bmp", ".bmp")),
    (_is_svg, Nature(Kind.IMAGE, "image/svg+xml", ".svg")),
    (lambda b: b.startswith(b"%PDF-"), Nature(Kind.PDF, "application/pdf", ".pdf")),
    (lambda b: b[:4] == b"RIFF" and b[8:12] == b"WAVE", Nature(Kind.AUDIO, "audio/wav", ".wav")),
    (lambda b: b.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3")), Nature(Kind.AUDIO, "audio/mpeg", ".mp3")),
    (lambda b: b.startswith(b"OggS"), Nature(Kind.AUDIO, "audio/ogg", ".ogg")),
    (lambda b: b.startswith(b"fLaC"), Nature(Kind.AUDIO, "audio/flac", ".flac")),
    (lambda b: b[4:8] == b"ftyp", Nature(Kind.VIDEO, "video/mp4", ".mp4")),
    (lambda b: b.startswith(b"\x1aE\xdf\xa3"), Nature(Kind.VIDEO, "video/webm", ".webm")),
)


def nature_of(body: bytes, size: int) -> Nature:
    """What a body of `size` bytes is that begins with `body`, its first `LOOKED_AT` bytes at least."""
    if size == 0:
        return _EMPTY
    found = next((nature for matches, nature in _MAGIC if matches(body)), None)
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
