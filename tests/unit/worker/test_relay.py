"""A handler's stderr on its way to the log."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.worker import relay as relay_module
from cm_exec.worker.relay import StderrRelay

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
    records, logger = Records(), relay_module.log
    before = logger.level, logger.propagate
    logger.addHandler(records)
    logger.setLevel("INFO")
    logger.propagate = False
    yield records
    logger.removeHandler(records)
    logger.level, logger.propagate = before


def relayed(records: Records, *chunks: bytes, close: bool = True, secret: bytes = b"\0none") -> list[bytes]:
    records.messages.clear()
    relay = StderrRelay(TAGS, lambda text: text.replace(secret, b"*"))
    for chunk in chunks:
        relay.write(chunk)
    if close:
        relay.close()
    return list(records.messages)


def test_whole_lines_go_at_once_and_the_rest_at_the_end(records: Records) -> None:
    assert relayed(records, b"one\ntwo\nthr", close=False) == [b"one\ntwo\n"]
    assert relayed(records, b"one\ntwo\nthr", b"ee\n", b"four") == [b"one\ntwo\n", b"three\n", b"four"]


def test_nothing_makes_no_record(records: Records) -> None:
    assert relayed(records) == []
    assert relayed(records, b"line\n") == [b"line\n"]


def test_each_record_is_tagged_with_its_job(records: Records) -> None:
    records.tags.clear()
    relayed(records, b"a\nb", b"c\nd")
    assert records.tags == [TAGS] * 3


def test_a_line_of_any_length_goes_in_pieces(records: Records) -> None:
    pieces = relayed(records, *[b"x" * 5000] * 100, b"end\n")
    assert b"".join(pieces) == b"x" * 500_000 + b"end\n"
    assert max(map(len, pieces)) < 2 * PIECE


def test_a_secret_that_comes_in_two_parts_is_redacted_all_the_same(records: Records) -> None:
    assert relayed(records, b"the tok", b"en-1 is mine\nand", secret=b"token-1") == [b"the * is mine\n", b"and"]


@given(st.lists(st.binary(max_size=20)))
def test_no_byte_is_lost_or_added(records: Records, chunks: list[bytes]) -> None:
    assert b"".join(relayed(records, *chunks)) == b"".join(chunks)
