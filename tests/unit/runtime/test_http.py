"""HTTP/1.1 from bytes: every form of a response, cut at every place."""

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cm_exec.runtime.http import (
    HUGE,
    LONGEST_HEAD,
    BodySink,
    IncompleteResponseError,
    InvalidResponseError,
    NoResponseError,
    Response,
    ResponseReader,
    request_head,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read_all(
    data: bytes, sizes: list[int] | None = None, *, end: bool = True, reader: ResponseReader | None = None
) -> list[Response]:
    """Return the responses in bytes that come in these pieces; the last has the rest."""
    reader, responses, sizes = reader or ResponseReader(), [], [*(sizes or []), len(data)]
    for size in sizes:
        piece, data = data[:size], data[size:]
        response = reader.feed(piece) if piece else None
        while response is not None:
            responses.append(response)
            response = None if reader.is_empty else reader.feed(b"")
    if end and not reader.is_empty:
        responses.append(reader.end())
    return responses


def read(data: bytes, sizes: list[int] | None = None) -> Response:
    (response,) = read_all(data, sizes)
    return response


def broken(data: bytes, sizes: list[int] | None = None) -> bytes:
    """Return what is left of a response that breaks off."""
    reader = ResponseReader()
    with pytest.raises(IncompleteResponseError):
        read_all(data, sizes, reader=reader)
    return bytes(reader.received_body)


RESPONSES = {
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Response(204, b"")),
    "a length": (OK + b"Content-Length: 3\r\n\r\nabc", Response(200, b"abc", {"content-length": "3"})),
    "no reason": (b"HTTP/1.1 202\r\ncontent-length:0\r\n\r\n", Response(202, b"", {"content-length": "0"})),
    "chunks": (
        CHUNKED + b"3\r\nabc\r\nA ; x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        Response(200, b"abc0123456789", {"transfer-encoding": "chunked"}),
    ),
    "interim responses first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Response(204, b""),
    ),
    "to the end": (b"HTTP/1.0 200 OK\r\n\r\nabc", Response(200, b"abc", reusable=False, lasts_to_end=True)),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_every_form_of_a_response_is_read(name: str) -> None:
    data, expected = RESPONSES[name]
    assert read(data) == expected


@pytest.mark.parametrize("name", RESPONSES)
@given(sizes=st.lists(st.integers(1, 40)))
@example(sizes=[1] * 500)
def test_a_response_may_come_in_any_pieces(name: str, sizes: list[int]) -> None:
    data, expected = RESPONSES[name]
    assert read(data, sizes) == expected


def test_the_same_length_twice_is_one_length() -> None:
    assert read(OK + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\nx").body == b"x"


@given(
    names=st.lists(st.sampled_from(["no content", "a length", "no reason", "chunks", "interim responses first"])),
    sizes=st.lists(st.integers(1, 60)),
)
def test_several_responses(names: list[str], sizes: list[int]) -> None:
    """One connection carries several responses."""
    data = b"".join(RESPONSES[name][0] for name in names)
    assert read_all(data, sizes) == [RESPONSES[name][1] for name in names]


@pytest.mark.parametrize("size", [HUGE - 1, HUGE, 3 * HUGE + 1])
def test_large_body(size: int) -> None:
    """A large body is read whole, and the next response after it."""
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    head = OK + b"Content-Length: %d\r\n\r\n" % size
    responses = read_all(head + body + OK + b"Content-Length: 1\r\n\r\nx", sizes=[len(head) + 7, *[65536] * 20])
    assert [response.body for response in responses] == [body, b"x"]


@pytest.mark.parametrize("size", [2 * HUGE, 10**15 - 1])
def test_beginning_of_a_large_body(size: int) -> None:
    """What has come of a body that breaks off is kept, even if its length cannot be true."""
    reader = ResponseReader()
    reader.feed(OK + b"Content-Length: %d\r\n\r\nabc" % size)
    reader.feed(b"def")
    with pytest.raises(IncompleteResponseError):
        reader.end()
    assert bytes(reader.received_body) == b"abcdef"


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
def test_anything_else_is_not_http(data: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        read(data)


def test_a_head_without_end_is_given_up() -> None:
    reader = ResponseReader()

    def feed_for_ever() -> None:
        for _ in range(1000):
            reader.feed(b"HTTP/1.1 200 OK\r\n" * 100)

    with pytest.raises(InvalidResponseError):
        feed_for_ever()


def test_no_byte_at_all_is_no_response() -> None:
    with pytest.raises(NoResponseError):
        ResponseReader().end()


def test_a_head_that_breaks_off_leaves_nothing() -> None:
    for end in range(1, len(OK) + 1):
        assert broken(OK[:end]) == b""


@pytest.mark.parametrize("sent", [b"", b"0", b"012345678"])
@pytest.mark.parametrize("sizes", [[], [1] * 100], ids=["whole", "bytes"])
def test_truncated_body(sent: bytes, sizes: list[int]) -> None:
    """The beginning of a truncated body is kept."""
    assert broken(OK + b"Content-Length: 10\r\n\r\n" + sent, sizes) == sent


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
@pytest.mark.parametrize("sizes", [[], [1] * 100], ids=["whole", "bytes"])
def test_chunks_that_break_off_leave_what_came(sent: bytes, left: bytes, sizes: list[int]) -> None:
    assert broken(CHUNKED + sent, sizes) == left


def test_partial_response() -> None:
    """The beginning of a late response is available, for a deadline or a reset."""
    reader = ResponseReader()
    assert (reader.is_empty, bytes(reader.received_body)) == (True, b"")
    reader.feed(OK + b"\r\nabc")
    assert (reader.is_empty, bytes(reader.received_body)) == (False, b"abc")


def test_interim_responses_are_none() -> None:
    reader = ResponseReader()
    for _ in range(1000):
        assert reader.feed(b"HTTP/1.1 102 Processing\r\n\r\n") is None
    assert reader.feed(b"HTTP/1.1 204 No Content\r\n\r\n") == Response(204, b"")


def test_a_length_is_only_a_claim() -> None:
    """No memory is taken for a body before it comes."""
    reader = ResponseReader()
    reader.feed(OK + b"Content-Length: 999999999999999\r\n\r\n")
    reader.feed(b"abc")
    assert len(reader.received_body) == 3


@given(st.binary(max_size=3000), st.lists(st.integers(1, 500)), st.sampled_from(["length", "chunks", "end"]))
def test_a_body_may_go_to_a_sink(body: bytes, sizes: list[int], form: str) -> None:
    heads = {"length": OK + b"Content-Length: %d\r\n\r\n" % len(body), "chunks": CHUNKED, "end": OK + b"\r\n"}
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if form == "chunks" and body else body
    sent = b"0\r\n\r\n" if form == "chunks" and not body else sent
    data = heads[form] + sent
    taken: list[bytes] = []
    statuses: list[int] = []

    def on_head(status: int, _headers: Mapping[str, str]) -> BodySink:
        statuses.append(status)
        return taken.append

    reader = ResponseReader()
    reader.on_head = on_head
    response = None
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        response = (reader.feed(piece) if piece else None) or response
    response = response or reader.end()
    assert (response.status, bytes(response.body), b"".join(taken), statuses) == (200, b"", body, [200])


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 7\r\n"]),
    st.lists(st.integers(1, 50)),
)
def test_any_bytes(data: bytes, before: bytes, sizes: list[int]) -> None:
    """Any bytes are a response or a documented error."""
    with suppress(NoResponseError, IncompleteResponseError, InvalidResponseError):
        assert all(100 < response.status < 1000 for response in read_all(before + data, sizes))


def test_a_request_s_head_is_one_line_each() -> None:
    head = request_head("POST", "/results/a%2Fb", (("Host", "localhost:1"), ("Content-Length", "0")))
    assert head == b"POST /results/a%2Fb HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 0\r\n\r\n"
    assert request_head("GET", "/", ()) == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize(("target", "name", "value"), [("/{}x", "A", "b"), ("/", "A{}C", "b"), ("/", "A", "b{}C: d")])
def test_nothing_breaks_out_of_its_line(end: str, target: str, name: str, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", target.format(end), ((name.format(end), value.format(end)),))
