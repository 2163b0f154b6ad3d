"""HTTP/1.1 from bytes: every form of an answer, cut at every place."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cm_exec.runtime.http import (
    LONGEST_HEAD,
    Answer,
    AnswerReader,
    BrokenOffError,
    NoAnswerError,
    NotHttpError,
    request_head,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Stream:
    """Bytes that come in pieces, and then the end of the stream, or `failure`."""

    def __init__(self, data: bytes, sizes: list[int] | None = None, failure: OSError | None = None) -> None:
        self._data = data
        self._sizes = iter(sizes or [])
        self._failure = failure

    def receive(self, most: int) -> bytes:
        if not self._data and self._failure:
            raise self._failure
        size = min(most, next(self._sizes, most))
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def receive_into(self, view: memoryview) -> int:
        piece = self.receive(len(view))
        view[: len(piece)] = piece
        return len(piece)


def reader(data: bytes, sizes: list[int] | None = None, failure: OSError | None = None) -> AnswerReader:
    stream = Stream(data, sizes, failure)
    return AnswerReader(stream.receive, stream.receive_into)


def read(data: bytes, sizes: list[int] | None = None) -> Answer:
    return reader(data, sizes).read()


def broken(data: bytes, failure: OSError | None = None) -> bytes:
    """What is left of an answer that breaks off."""
    with pytest.raises(BrokenOffError) as caught:
        reader(data, failure=failure).read()
    return caught.value.partial


ANSWERS = {
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, b"")),
    "a length": (OK + b"Content-Length: 3\r\n\r\nabc", Answer(200, b"abc", {"content-length": "3"})),
    "no reason": (b"HTTP/1.1 202\r\ncontent-length:0\r\n\r\n", Answer(202, b"", {"content-length": "0"})),
    "chunks": (
        CHUNKED + b"3\r\nabc\r\nA ; x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        Answer(200, b"abc0123456789", {"transfer-encoding": "chunked"}),
    ),
    "interim answers first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Answer(204, b""),
    ),
    "to the end": (b"HTTP/1.0 200 OK\r\n\r\nabc", Answer(200, b"abc", reusable=False)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_form_of_an_answer_is_read(name: str) -> None:
    data, expected = ANSWERS[name]
    assert read(data) == expected


@pytest.mark.parametrize("name", ANSWERS)
@given(sizes=st.lists(st.integers(1, 40)))
@example(sizes=[1] * 500)
def test_an_answer_may_come_in_any_pieces(name: str, sizes: list[int]) -> None:
    data, expected = ANSWERS[name]
    assert read(data, sizes) == expected


def test_the_same_length_twice_is_one_length() -> None:
    assert read(OK + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\nx").body == b"x"


def test_answers_follow_each_other_on_one_connection() -> None:
    kept = [name for name in ANSWERS if ANSWERS[name][1].reusable]
    together = reader(b"".join(ANSWERS[name][0] for name in kept), sizes=[7] * 100)
    assert [together.read() for _ in kept] == [ANSWERS[name][1] for name in kept]
    with pytest.raises(NoAnswerError):
        together.read()


def test_a_large_body_is_read_whole() -> None:
    body = bytes(range(256)) * 20_000
    answer = read(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, sizes=[65536] * 20)
    assert answer.body == body


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 204 N\r\n\r\n", True),
        (b"HTTP/1.1 204 N\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 204 N\r\nCONNECTION: Close\r\n\r\n", False),
        (b"HTTP/1.0 204 N\r\n\r\n", False),
        (b"HTTP/1.0 204 N\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_whether_the_connection_stays_open(head: bytes, reusable: bool) -> None:
    assert read(head).reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"HTTQ",
        b"\x00\xff\xfe",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1, 1\r\n\r\nx",
        OK + b"Content-Length: \xb2\r\n\r\nx",
        OK + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\nxy",
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nx",
        OK + b"Content-Length: " + b"9" * 20 + b"\r\n\r\nx",
        CHUNKED + b"x\r\n",
        CHUNKED + b"-5\r\nabcdefgh\r\n0\r\n\r\n",
        CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"+1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"F" * 20 + b"\r\nabc",
        CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
        OK + b"x" * LONGEST_HEAD + b"y",
        CHUNKED + b"1" * (LONGEST_HEAD + 1),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_not_http_is_told_as_such(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        read(data)


def test_a_head_without_end_is_given_up() -> None:
    def endless(_: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\n" * 100

    with pytest.raises(NotHttpError):
        AnswerReader(endless, Stream(b"").receive_into).read()


def test_no_byte_at_all_is_no_answer() -> None:
    with pytest.raises(NoAnswerError):
        read(b"")


def test_a_head_that_breaks_off_leaves_nothing() -> None:
    for end in range(1, len(OK) + 1):
        assert broken(OK[:end]) == b""


RESET = ConnectionResetError("reset")
LATE = TimeoutError("late")
FAILURES: list[OSError | None] = [None, RESET, LATE]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_a_body_with_a_length_that_breaks_off_leaves_its_beginning(failure: OSError | None) -> None:
    head = OK + b"Content-Length: 10\r\n\r\n"
    for sent in (b"", b"0", b"012345678"):
        assert broken(head + sent, failure) == sent


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (b"", b""),
        (b"4\r", b""),
        (b"4\r\nab", b"ab"),
        (b"4\r\nabcd", b"abcd"),
        (b"4\r\nabcd\r\n", b"abcd"),
        (b"4\r\nabcd\r\n2\r\nx", b"abcdx"),
        (b"4\r\nabcd\r\n0\r\n", b"abcd"),
        (b"4\r\nabcd\r\n0\r\nTrailer: t\r\n", b"abcd"),
    ],
)
def test_chunks_that_break_off_leave_what_came(sent: bytes, left: bytes, failure: OSError | None) -> None:
    assert broken(CHUNKED + sent, failure) == left


@pytest.mark.parametrize("failure", [RESET, LATE], ids=repr)
def test_a_body_to_the_end_that_is_reset_leaves_what_came(failure: OSError) -> None:
    assert broken(OK + b"\r\nabc", failure) == b"abc"


def test_an_error_before_the_answer_is_the_caller_s() -> None:
    with pytest.raises(ConnectionResetError):
        reader(b"", failure=RESET).read()


@given(st.binary(max_size=200), st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 7\r\n"]))
def test_any_bytes_are_an_answer_or_a_foreseen_error(data: bytes, before: bytes) -> None:
    with suppress(NoAnswerError, BrokenOffError, NotHttpError):
        assert 100 < read(before + data).status < 1000


def test_a_request_s_head_is_one_line_each() -> None:
    head = request_head("POST", "/results/a%2Fb", ("Host", "localhost:1"), ("Content-Length", "0"))
    assert head == b"POST /results/a%2Fb HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 0\r\n\r\n"
    assert request_head("GET", "/") == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize(("target", "name", "value"), [("/{}x", "A", "b"), ("/", "A{}C", "b"), ("/", "A", "b{}C: d")])
def test_nothing_breaks_out_of_its_line(end: str, target: str, name: str, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", target.format(end), (name.format(end), value.format(end)))
