"""Texts and other bytes are compared byte by byte; invisible differences are described."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cm_exec.function_tests.comparison import beginning, common_start, text_differences

HEAD = "from line {} on (- expected, + found):"


def test_diff() -> None:
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
        (b"hi", b"hi\n", "the result has an unexpected line end at its end"),
        (b"hi\n", b"hi", "the result lacks the line end at its end"),
        (b"a\nb\n", b"a\r\nb\r\n", "only the line ends differ"),
        (b"a b", b"a  b ", "only white space differs"),
        (b"", b"\n", "the result has an unexpected line end at its end"),
    ],
)
def test_invisible_differences(expected: bytes, found: bytes, remark: str) -> None:
    assert text_differences(expected, found)[0] == remark


def test_long_line() -> None:
    expected = b"first\n" + b"a" * 1000 + b"b\nlast"
    found = b"first\n" + b"a" * 1000 + b"c\nlast"
    (line,) = text_differences(expected, found)
    assert line.startswith("line 2: from character 1001 on expected …'aaaa")
    assert "ab'" in line
    assert "ac'" in line


def test_long_difference() -> None:
    lines = text_differences(b"a\n" * 5000, b"b\n" * 5000)
    assert len(lines) < 60
    assert lines[-1] == "…"


def test_hex() -> None:
    """Bytes are shown in hexadecimal around the first difference."""
    expected, found = bytes(range(256)), bytes([*range(100), 0xFF, *range(101, 256), 0])
    lines = text_differences(expected, found)
    assert lines[0] == "expected 256 bytes, found 257; the first difference is at byte 100 (0x64):"
    assert lines[1] == "- 00000060  60 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f  `abcdefghijklmno"
    assert lines[3] == "+ 00000060  60 61 62 63 ff 65 66 67 68 69 6a 6b 6c 6d 6e 6f  `abc.efghijklmno"
    assert len(lines) == 5


def test_hex_missing_end() -> None:
    lines = text_differences(b"\0" * 16, b"\0" * 32)
    assert lines[0] == "expected 16 bytes, found 32; the first difference is at byte 16 (0x10):"
    assert lines[1:] == ["+ 00000010  " + " ".join(["00"] * 16) + "  " + "." * 16]


@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode), st.binary(max_size=50))
def test_any_difference(expected: bytes, found: bytes) -> None:
    assume(expected != found)
    lines = text_differences(expected, found)
    assert lines
    assert not any("\n" in line for line in lines)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_common_start(start: str, one: str, other: str) -> None:
    at = common_start(start + one, start + other)
    assert at >= len(start)
    assert (start + one)[:at] == (start + other)[:at]
    assert (start + one)[at : at + 1] != (start + other)[at : at + 1] or not (one[at - len(start) :] and other)


def test_beginning() -> None:
    assert beginning(b"short\n") == "short\n"
    assert beginning(b"\xff\x00") == "\\xff\x00"
    assert beginning(b"x" * 10_000, 10) == "xxxxxxxxxx…"
    assert beginning("é".encode() * 10_000, 10) == "éééééééééé…"
