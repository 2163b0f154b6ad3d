"""Queries as lines or frames, and results back, however they are cut into pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.framing import OutOfStepError, ResultReader, frame_query, result_reader

LINES, FRAMES = "lines", "content-length"


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    """`text` cut at these places, taken modulo its length."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def read(framing: str, *chunks: bytes) -> tuple[bytes, ResultReader]:
    reader = result_reader(framing)
    return b"".join(reader.feed(chunk) for chunk in chunks), reader


cuts = st.lists(st.integers(0, 1000), max_size=8)
of_one_line = st.binary(max_size=200).map(lambda text: text.replace(b"\n", b""))


@given(line=of_one_line, end=st.sampled_from([b"\n", b"\r\n"]), cuts=cuts)
def test_a_line_is_the_result_without_its_end_however_it_is_cut(line: bytes, end: bytes, cuts: list[int]) -> None:
    line = line.rstrip(b"\r") if end == b"\n" else line
    result, reader = read(LINES, *pieces(line + end, cuts))
    assert (result, reader.is_complete, reader.has_begun) == (line, True, True)


@given(body=st.binary(max_size=200), end=st.sampled_from([b"\n", b"\r\n"]), cuts=cuts)
def test_a_frame_s_body_is_the_result_however_it_is_cut(body: bytes, end: bytes, cuts: list[int]) -> None:
    header = b"content-LENGTH : %d%bContent-Type: x%b%b" % (len(body), end, end, end)
    result, reader = read(FRAMES, *pieces(header + body, cuts))
    assert (result, reader.is_complete, reader.has_begun) == (body, True, True)


@given(query=st.binary(max_size=200), cuts=cuts)
def test_what_one_side_frames_the_other_reads(query: bytes, cuts: list[int]) -> None:
    result, reader = read(FRAMES, *pieces(frame_query(FRAMES, query), cuts))
    assert (result, reader.is_complete) == (query, True)


@pytest.mark.parametrize("framing", [LINES, FRAMES])
@given(first=of_one_line, more=st.binary(min_size=1, max_size=50), cuts=cuts)
def test_anything_behind_a_result_is_out_of_step(framing: str, first: bytes, more: bytes, cuts: list[int]) -> None:
    result = first + b"\n" if framing == LINES else frame_query(FRAMES, first)
    with pytest.raises(OutOfStepError):
        read(framing, *pieces(result + more, [*cuts, len(result) - 1]))
    with pytest.raises(OutOfStepError):
        read(framing, result, more)


@pytest.mark.parametrize("framing", [LINES, FRAMES])
@given(first=of_one_line, cut=st.integers(0, 1000))
def test_a_part_is_not_a_result(framing: str, first: bytes, cut: int) -> None:
    whole = first + b"\n" if framing == LINES else frame_query(FRAMES, first)
    part = whole[: cut % len(whole)]
    _, reader = read(framing, part)
    assert (reader.is_complete, reader.has_begun) == (False, bool(part))


@pytest.mark.parametrize("framing", [LINES, FRAMES])
def test_nothing_more_changes_nothing(framing: str) -> None:
    whole = b"r\n" if framing == LINES else frame_query(FRAMES, b"r")
    result, reader = read(framing, b"", whole, b"")
    assert (result, reader.is_complete) == (b"r", True)


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
def test_a_wrong_header_is_out_of_step_at_once(written: bytes) -> None:
    with pytest.raises(OutOfStepError, match="Content-Length"):
        read(FRAMES, written)


@given(query=st.binary(max_size=200))
def test_a_query_is_one_line_whatever_it_holds(query: bytes) -> None:
    framed = frame_query(LINES, query)
    assert framed.endswith(b"\n")
    assert framed.count(b"\n") == 1
    assert b"\r" not in framed
    assert len(framed) == len(query) + 1


def test_line_breaks_between_json_tokens_become_spaces() -> None:
    assert frame_query(LINES, b'{\r\n\t"a\\n": 1\n}') == b'{  \t"a\\n": 1 }\n'
