"""Texts and other bytes are compared byte by byte, and what the eye does not see is told."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cm_exec.function_tests.excerpt import beginning, common_start, visible
from cm_exec.function_tests.text_difference import text_differences

HEAD = "from line {} on (- expected, + found):"


def test_a_text_is_shown_as_a_diff() -> None:
    expected = "".join(f"line {n}\n" for n in range(1, 11)).encode()
    found = expected.replace(b"line 7\n", b"line seven\n")
    assert text_differences(expected, found) == [
        HEAD.format(4),
        " line 4",
        " line 5",
        " line 6",
        "-line 7",
        "+line seven",
        " line 8",
        " line 9",
        " line 10",
    ]


@pytest.mark.parametrize(
    ("expected", "found", "remark"),
    [
        (b"hi", b"hi\n", "it has a line end at its end that is not expected"),
        (b"hi\n", b"hi", "it lacks the line end at its end"),
        (b"a\nb\n", b"a\r\nb\r\n", "only the line ends differ"),
        (b"a b", b"a  b ", "only white space differs"),
        (b"", b"\n", "it has a line end at its end that is not expected"),
    ],
)
def test_what_the_eye_does_not_see_is_told(expected: bytes, found: bytes, remark: str) -> None:
    assert text_differences(expected, found)[0] == remark


def test_a_long_line_is_shown_where_it_differs() -> None:
    expected = b"first\n" + b"a" * 1000 + b"b\nlast"
    found = b"first\n" + b"a" * 1000 + b"c\nlast"
    (line,) = text_differences(expected, found)
    assert line.startswith("line 2: from character 1001 on expected …'aaaa")
    assert "ab'" in line
    assert "ac'" in line


def test_a_long_difference_is_cut() -> None:
    lines = text_differences(b"a\n" * 5000, b"b\n" * 5000)
    assert len(lines) < 60
    assert lines[-1] == "…"


def test_bytes_are_shown_in_hex_around_the_first_difference() -> None:
    expected, found = bytes(range(256)), bytes([*range(100), 0xFF, *range(101, 256), 0])
    lines = text_differences(expected, found)
    assert lines[0] == "expected 256 bytes, found 257; the first difference is at byte 100 (0x64):"
    assert lines[1] == "- 00000060  60 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f  `abcdefghijklmno"
    assert lines[3] == "+ 00000060  60 61 62 63 ff 65 66 67 68 69 6a 6b 6c 6d 6e 6f  `abc.efghijklmno"
    assert len(lines) == 5


def test_a_missing_end_is_shown_in_hex_too() -> None:
    lines = text_differences(b"\0" * 16, b"\0" * 32)
    assert lines[0] == "expected 16 bytes, found 32; the first difference is at byte 16 (0x10):"
    assert lines[1:] == ["+ 00000010  " + " ".join(["00"] * 16) + "  " + "." * 16]


@settings(deadline=None)
@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode), st.binary(max_size=50))
def test_any_difference_is_shown_in_lines(expected: bytes, found: bytes) -> None:
    assume(expected != found)
    lines = text_differences(expected, found)
    assert lines
    assert not any("\n" in line for line in lines)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_the_common_start_is_found(start: str, one: str, other: str) -> None:
    at = common_start(start + one, start + other)
    assert at >= len(start)
    assert (start + one)[:at] == (start + other)[:at]
    assert (start + one)[at : at + 1] != (start + other)[at : at + 1] or not (one[at - len(start) :] and other)


def test_control_characters_become_visible() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("\x1b[31m\r\0\x9f\ud83d\ufffe") == "\\x1b[31m\\x0d\\x00\\x9f\\ud83d\\ufffe"


def test_the_beginning_of_a_body_is_short() -> None:
    assert beginning(b"short\n") == "short\n"
    assert beginning(b"\xff\x00") == "\\xff\x00"
    assert beginning(b"x" * 10_000, 10) == "xxxxxxxxxx…"
    assert beginning("é".encode() * 10_000, 10) == "éééééééééé…"
