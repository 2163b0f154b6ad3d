"""Messages as lines or frames, however their bytes are cut into pieces."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.framing import DesyncError, MessageReader, frame_message, message_reader

LINES, FRAMES = "lines", "content-length"


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    """Return `text` cut at these places, taken modulo its length."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def read_all(framing: str, chunks: list[bytes]) -> tuple[list[bytes], str]:
    """Return all messages, and how much of a further one has come."""
    reader, messages, content = message_reader(framing), list[bytes](), b""
    for chunk in chunks:
        rest = chunk
        while True:
            content += reader.feed(rest)
            if not reader.is_complete:
                break
            messages.append(content)
            content, rest = b"", reader.next()
    return messages, reader.progress()


def read(framing: str, *chunks: bytes) -> tuple[bytes, MessageReader]:
    reader = message_reader(framing)
    return b"".join(reader.feed(chunk) for chunk in chunks), reader


cuts = st.lists(st.integers(0, 1000), max_size=8)
of_one_line = st.binary(max_size=200).map(lambda text: text.replace(b"\n", b""))


@given(line=of_one_line, end=st.sampled_from([b"\n", b"\r\n"]), cuts=cuts)
def test_line(line: bytes, end: bytes, cuts: list[int]) -> None:
    """A line without its end is the message, at any split of the bytes."""
    line = line.rstrip(b"\r") if end == b"\n" else line
    result, reader = read(LINES, *pieces(line + end, cuts))
    assert (result, reader.is_complete, reader.rest) == (line, True, b"")


@given(body=st.binary(max_size=200), end=st.sampled_from([b"\n", b"\r\n"]), cuts=cuts)
def test_frame(body: bytes, end: bytes, cuts: list[int]) -> None:
    """A frame's body is the message, at any split of the bytes."""
    header = b"content-LENGTH : %d%bContent-Type: x%b%b" % (len(body), end, end, end)
    result, reader = read(FRAMES, *pieces(header + body, cuts))
    assert (result, reader.is_complete, reader.rest) == (body, True, b"")


@pytest.mark.parametrize("framing", [LINES, FRAMES])
@given(
    messages=st.lists(of_one_line.map(lambda text: text.rstrip(b"\r")), max_size=5), cuts=cuts, end=st.integers(0, 9)
)
def test_any_split(framing: str, messages: list[bytes], cuts: list[int], end: int) -> None:
    """Any split of the bytes yields the same messages."""
    framed = [m + b"\n" if framing == LINES else frame_message(framing, m) for m in messages]
    part = (b"abc" if framing == LINES else frame_message(framing, b"abcdefghi"))[:end]
    found, progress = read_all(framing, pieces(b"".join(framed) + part, cuts))
    assert found == messages
    assert bool(progress) is bool(part)


@pytest.mark.parametrize("framing", [LINES, FRAMES])
@given(first=of_one_line, more=st.binary(min_size=1, max_size=50))
def test_bytes_after_a_message(framing: str, first: bytes, more: bytes) -> None:
    """The bytes after a message are kept apart from it."""
    message = first + b"\n" if framing == LINES else frame_message(FRAMES, first)
    for chunks in ([message + more], [message, more]):
        _, reader = read(framing, *chunks)
        assert (reader.is_complete, reader.rest) == (True, more)
        assert reader.next() == more
        assert (reader.is_complete, reader.rest, reader.progress()) == (False, b"", "")


@pytest.mark.parametrize(
    ("framing", "text", "progress"),
    [
        (LINES, b"", ""),
        (LINES, b"1234567", "7 bytes and no line end"),
        (FRAMES, b"Content-", "8 bytes of a frame's header"),
        (FRAMES, b"Content-Length: 9\r\n\r\n123456", "6 of 9 bytes of its frame"),
    ],
)
def test_progress(framing: str, text: bytes, progress: str) -> None:
    _, reader = read(framing, text)
    assert (reader.is_complete, reader.progress()) == (False, progress)


@pytest.mark.parametrize(
    "written",
    [
        b"hello\n",
        b"hello\r\n",
        b'{"a": 1}\n',
        b"\r\n\r\n",
        b"\n\n",
        b"Content-Type: x\r\n\r\n",
        b"Content-Length: x\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1 2\r\n\r\n",
        b"Content-Length: 0x5\r\n\r\n",
        b"Content-Length: 9999999999999999999\r\n\r\n",
        b"X-Content-Length: 5\r\n\r\n",
        b"Content-Length: 5\r\nstray\r\n\r\n",
        b"a" * 9000,
    ],
)
def test_wrong_header(written: bytes) -> None:
    """A wrong header is a desync at once."""
    with pytest.raises(DesyncError, match="Content-Length"):
        read(FRAMES, written)


@given(query=st.binary(max_size=200))
def test_query_is_one_line(query: bytes) -> None:
    """Any query becomes one line."""
    framed = frame_message(LINES, query)
    assert framed.endswith(b"\n")
    assert framed.count(b"\n") == 1
    assert b"\r" not in framed
    assert len(framed) >= len(query) + 1


@given(value=st.recursive(st.text() | st.integers(), st.lists), indent=st.none() | st.integers(0, 2))
def test_query_keeps_its_json(value: object, indent: int | None) -> None:
    """Every reader of lines gets the query's JSON on one line; str.splitlines knows the most separators."""
    query = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        framed = frame_message(LINES, query.encode()).decode()
    except UnicodeEncodeError:
        return  # half a surrogate pair has no bytes
    assert json.loads(framed) == value
    assert not {"\u2028", "\u2029", "\x85", "\r"} & set(framed)


def test_line_breaks_between_tokens() -> None:
    """Line breaks between JSON tokens become spaces."""
    assert frame_message(LINES, b'{\r\n\t"a\\n": 1\n}') == b'{  \t"a\\n": 1 }\n'


def test_in_a_frame_a_query_stays_as_it_is() -> None:
    query = '\n"\u2028"\r\n'.encode()
    assert frame_message(FRAMES, query) == b"Content-Length: 8\r\n\r\n" + query
