"""What counts as one JSON value, for handlers that promise JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.protocol.json_text import InvalidJsonError, decode_json, json_problem

any_text = st.text(st.characters(exclude_categories=[]))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
)


@given(any_json)
def test_any_json_is_json(value: Any) -> None:
    assert json_problem(json.dumps(value).encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        b" 1.10 \n",
        b"1E400",
        b"1" * 5000,
        rb'"\ud83d"',
        rb'["\ud83d", 1E400, 1.5]',
        b'{"d":1,"d":2}',
        '"é😀"'.encode(),
        b"[" * 500 + b"]" * 500,
    ],
)
def test_odd_but_valid(text: bytes) -> None:
    assert json_problem(text) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"NaN",
        b"-Infinity",
        rb'["\ud83d", NaN]',
        b"1 2",
        b"{}{}",
        b"{'a':1}",
        b"[1,]",
        b"01",
        b"tru",
        b'"\x01"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16-le"),
        "[1]".encode("utf-32-be"),
        rb'"\ud83d',
        rb'"\x"',
        b"[" * 100_000,
    ],
)
def test_invalid_json(text: bytes) -> None:
    """Text that is not JSON is reported."""
    assert json_problem(text)


def test_invalid_utf8() -> None:
    """Bytes that are not UTF-8 are reported with their position."""
    assert json_problem(b'"ab\xff"') == "byte 3 is not UTF-8"


def test_the_problem_says_where_it_is() -> None:
    assert "byte 4" in str(json_problem(b'{"a"}'))


def is_json(text: bytes) -> bool:
    """Return whether the json module reads the text, without the constants that are not JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def mutated(document: Any, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Return the document's text with some bytes replaced, removed or added."""
    text = json.dumps(document).encode()
    for at, removed, added in changes:
        place = at % (len(text) + 1)
        text = text[:place] + added + text[place + removed :]
    return text


changes = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 2),
        st.sampled_from([*b'{}[]",:0-.eE \n\r\t\\tfnu\x01\x0b/+']).map(lambda byte: bytes([byte]))
        | st.binary(max_size=2),
    ),
    max_size=3,
)


@given(any_json, changes)
def test_it_agrees_with_the_json_module(document: Any, changes: list[tuple[int, int, bytes]]) -> None:
    text = mutated(document, changes)
    assert (json_problem(text) is None) is is_json(text)


@given(any_json, changes)
def test_deep_nesting(document: Any, changes: list[tuple[int, int, bytes]]) -> None:
    """It agrees with the json module on texts that are too deep for both."""
    text = mutated(document, changes)
    deep = b'[{"a":[' * 2000 + text + b"]}]" * 2000
    shallow = b'[{"a":[' + text + b"]}]"
    assert (json_problem(deep) is None) is is_json(shallow)


@pytest.mark.parametrize("depth", [1_001, 200_000])
def test_any_depth_is_json(depth: int) -> None:
    assert json_problem(b"[" * depth + b"]" * depth) is None
    assert json_problem(b"[" * depth + b"]" * (depth - 1))
    assert json_problem(b'{"a":' * depth + b"1" + b"}" * depth) is None


@given(any_json)
def test_any_json_is_decoded(value: Any) -> None:
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", [b"", b"NaN", b"[1,]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_not_decoded(text: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        decode_json(text)
