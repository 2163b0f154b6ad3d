"""What a result's bytes are."""

import pytest

from cm_exec.local_runtime.core.media_type import LOOKED_AT, Kind, nature_of


@pytest.mark.parametrize(
    ("body", "kind", "media_type"),
    [
        (b"", Kind.EMPTY, "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n....", Kind.IMAGE, "image/png"),
        (b"\xff\xd8\xff\xe0....", Kind.IMAGE, "image/jpeg"),
        (b"GIF89a....", Kind.IMAGE, "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", Kind.IMAGE, "image/webp"),
        (b"\0\0\0\x20ftypavif....", Kind.IMAGE, "image/avif"),
        (b"BM\x10\0\0\0\0\0\0\0....", Kind.IMAGE, "image/bmp"),
        (b" <svg xmlns='...'/>", Kind.IMAGE, "image/svg+xml"),
        (b"<?xml version='1.0'?><svg/>", Kind.IMAGE, "image/svg+xml"),
        (b"%PDF-1.7", Kind.PDF, "application/pdf"),
        (b"RIFF\x10\0\0\0WAVEfmt ", Kind.AUDIO, "audio/wav"),
        (b"ID3\x04", Kind.AUDIO, "audio/mpeg"),
        (b"OggS\0", Kind.AUDIO, "audio/ogg"),
        (b"fLaC\0", Kind.AUDIO, "audio/flac"),
        (b"\0\0\0\x20ftypisom....", Kind.VIDEO, "video/mp4"),
        (b"\x1aE\xdf\xa3....", Kind.VIDEO, "video/webm"),
        (b' {"a": 1}\n', Kind.JSON, "application/json"),
        (b"42", Kind.JSON, "application/json"),
        (b"nearly 42", Kind.TEXT, "text/plain; charset=utf-8"),
        (b'{"a": ', Kind.TEXT, "text/plain; charset=utf-8"),
        ("é".encode(), Kind.TEXT, "text/plain; charset=utf-8"),
        (b"\xe9", Kind.BINARY, "application/octet-stream"),
        (b"a\0b", Kind.BINARY, "application/octet-stream"),
    ],
)
def test_by_the_beginning(body: bytes, kind: Kind, media_type: str) -> None:
    nature = nature_of(body, len(body))
    assert (nature.kind, nature.media_type) == (kind, media_type)


def test_a_long_text_whose_known_part_ends_within_a_character() -> None:
    beginning = b"a" * (LOOKED_AT - 1) + "é".encode()[:1]
    assert nature_of(beginning, 2 * LOOKED_AT).kind is Kind.TEXT


def test_a_long_json_text_by_how_it_starts() -> None:
    assert nature_of(b"[" + b"1," * (LOOKED_AT // 2), 2 * LOOKED_AT).kind is Kind.JSON


def test_a_deep_json_text_does_no_harm() -> None:
    assert nature_of(b"[" * 100_000, 100_000).kind is Kind.TEXT
