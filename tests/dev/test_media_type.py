"""The media type of a result."""

import pytest

from cm_exec.local_runtime.core.result import SNIFF_LIMIT, MediaKind, sniff


@pytest.mark.parametrize(
    ("body", "kind", "media_type"),
    [
        (b"", MediaKind.EMPTY, "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n....", MediaKind.IMAGE, "image/png"),
        (b"\xff\xd8\xff\xe0....", MediaKind.IMAGE, "image/jpeg"),
        (b"GIF89a....", MediaKind.IMAGE, "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", MediaKind.IMAGE, "image/webp"),
        (b"\0\0\0\x20ftypavif....", MediaKind.IMAGE, "image/avif"),
        (b"BM\x10\0\0\0\0\0\0\0....", MediaKind.IMAGE, "image/bmp"),
        (b" <svg xmlns='...'/>", MediaKind.IMAGE, "image/svg+xml"),
        (b"<?xml version='1.0'?><svg/>", MediaKind.IMAGE, "image/svg+xml"),
        (b"%PDF-1.7", MediaKind.PDF, "application/pdf"),
        (b"RIFF\x10\0\0\0WAVEfmt ", MediaKind.AUDIO, "audio/wav"),
        (b"ID3\x04", MediaKind.AUDIO, "audio/mpeg"),
        (b"OggS\0", MediaKind.AUDIO, "audio/ogg"),
        (b"fLaC\0", MediaKind.AUDIO, "audio/flac"),
        (b"\0\0\0\x20ftypisom....", MediaKind.VIDEO, "video/mp4"),
        (b"\x1aE\xdf\xa3....", MediaKind.VIDEO, "video/webm"),
        (b' {"a": 1}\n', MediaKind.JSON, "application/json"),
        (b"42", MediaKind.JSON, "application/json"),
        (b"nearly 42", MediaKind.TEXT, "text/plain; charset=utf-8"),
        (b'{"a": ', MediaKind.TEXT, "text/plain; charset=utf-8"),
        ("é".encode(), MediaKind.TEXT, "text/plain; charset=utf-8"),
        (b"\xe9", MediaKind.BINARY, "application/octet-stream"),
        (b"a\0b", MediaKind.BINARY, "application/octet-stream"),
    ],
)
def test_sniffing(body: bytes, kind: MediaKind, media_type: str) -> None:
    """The first bytes decide on the media type."""
    media = sniff(body, len(body))
    assert (media.kind, media.media_type) == (kind, media_type)


def test_divided_character() -> None:
    """A long text is recognized although the sniffed part ends within a character."""
    beginning = b"a" * (SNIFF_LIMIT - 1) + "é".encode()[:1]
    assert sniff(beginning, 2 * SNIFF_LIMIT).kind is MediaKind.TEXT


def test_long_json() -> None:
    """A long JSON text is recognized by its first character."""
    assert sniff(b"[" + b"1," * (SNIFF_LIMIT // 2), 2 * SNIFF_LIMIT).kind is MediaKind.JSON


def test_deep_json() -> None:
    """A deeply nested JSON text causes no error."""
    assert sniff(b"[" * 100_000, 100_000).kind is MediaKind.TEXT
