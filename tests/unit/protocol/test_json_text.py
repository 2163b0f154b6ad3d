"""What counts as one JSON value, for handlers that promise JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.protocol.json_text import json_problem

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
def test_what_is_no_json_is_told(text: bytes) -> None:
    assert json_problem(text)


def test_bytes_that_are_not_utf8_are_told_with_their_place() -> None:
    assert json_problem(b'"ab\xff"') == "byte 3 is not UTF-8"


def test_the_problem_says_where_it_is() -> None:
    assert "byte 4" in str(json_problem(b'{"a"}'))
