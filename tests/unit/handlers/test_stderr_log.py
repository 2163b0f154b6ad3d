"""A handler's stderr on its way to the log."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers import outcome
from cm_exec.handlers.outcome import StderrLogger
from cm_exec.protocol import redact

PIECE = 64 * 1024
TAGS = {"job_id": "j", "function": "f"}


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.tags: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.msg, bytes)
        self.messages.append(record.msg)
        self.tags.append(getattr(record, "tags", None))


@pytest.fixture(scope="module")
def records() -> Iterator[Records]:
    records, log = Records(), outcome.log
    before = log.level, log.propagate
    log.addHandler(records)
    log.setLevel("INFO")
    log.propagate = False
    yield records
    log.removeHandler(records)
    log.level, log.propagate = before


def logged(records: Records, *chunks: bytes, flush: bool = True, secret: bytes = b"\0none") -> list[bytes]:
    records.messages.clear()
    logger = StderrLogger(TAGS, lambda text: text.replace(secret, b"*"))
    for chunk in chunks:
        logger.write(chunk)
    if flush:
        logger.flush()
    return list(records.messages)


def test_lines(records: Records) -> None:
    """Complete lines are logged at once, and the rest at the end."""
    assert logged(records, b"one\ntwo\nthr", flush=False) == [b"one\ntwo\n"]
    assert logged(records, b"one\ntwo\nthr", b"ee\n", b"four") == [b"one\ntwo\n", b"three\n", b"four"]


@pytest.mark.parametrize("cut", range(1, 8))
def test_secret_in_a_long_line(records: Records, cut: int) -> None:
    """A secret in a long line is redacted wherever the line is split."""
    for start in (PIECE - 10, PIECE, 2 * PIECE - 16 * 1024 - 3):
        text = b"x" * start + b"token-1" + b"y" * 2 * PIECE
        pieces = logged(records, text[: start + cut], text[start + cut :], secret=b"token-1")
        assert b"".join(pieces) == text.replace(b"token-1", b"*")


def test_secret_in_the_mark(records: Records) -> None:
    """A secret that is a part of "[redacted]" is redacted once, also in a long line."""
    records.messages.clear()
    logger = StderrLogger(TAGS, lambda text: redact(text, [b"act"]))
    logger.write(b"act" + b"y" * 2 * PIECE)
    logger.flush()
    assert b"".join(records.messages) == b"[redacted]" + b"y" * 2 * PIECE


def test_nothing_makes_no_record(records: Records) -> None:
    assert logged(records) == []
    assert logged(records, b"line\n") == [b"line\n"]


def test_each_record_is_tagged_with_its_job(records: Records) -> None:
    records.tags.clear()
    logged(records, b"a\nb", b"c\nd")
    assert records.tags == [TAGS] * 3


def test_a_line_of_any_length_goes_in_pieces(records: Records) -> None:
    pieces = logged(records, *[b"x" * 5000] * 100, b"end\n")
    assert b"".join(pieces) == b"x" * 500_000 + b"end\n"
    assert max(map(len, pieces)) < 2 * PIECE


def test_secret_in_two_parts(records: Records) -> None:
    """A secret that arrives in two parts is redacted."""
    assert logged(records, b"the tok", b"en-1 is mine\nand", secret=b"token-1") == [b"the * is mine\n", b"and"]


@given(st.lists(st.binary(max_size=20)))
def test_no_byte_is_lost_or_added(records: Records, chunks: list[bytes]) -> None:
    assert b"".join(logged(records, *chunks)) == b"".join(chunks)


def test_a_silent_job_costs_no_redaction() -> None:
    """Most jobs write nothing to stderr, and each is flushed several times."""

    def refuse(text: bytes) -> bytes:
        pytest.fail(f"redacted {text!r}")

    StderrLogger(TAGS, refuse).flush()
