"""The differences between a text, or other bytes, and the expected ones."""

import difflib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, TypeVar

Text = TypeVar("Text", str, bytes)

_CONTEXT: Final = 20
"""Characters shown before a difference in a long text."""

_CONTEXT_LINES: Final = 3
"""Lines shown before the first difference."""

_WINDOW: Final = 60
_MOST_LINES: Final = 40
_LONGEST_LINE: Final = 160
_HEX_ROW: Final = 16
"""Bytes."""

_BINARY: Final = frozenset(range(0x20)) - frozenset(b"\t\n\v\f\r\x1b")


def common_start(one: Text, other: Text) -> int:
    """Count the characters or bytes that both begin with, in a few comparisons of large parts."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def show_difference(expected: str, found: str, at: int, quote: Callable[[str], str], longest: int) -> str:
    """Show both texts; of long ones only the part around their first difference, at index `at`."""
    if max(len(expected), len(found)) <= longest:
        return f"expected {quote(expected)}, found {quote(found)}"
    start = max(0, at - _CONTEXT)
    parts = [_part(text, start, longest, quote) for text in (expected, found)]
    return f"from character {at + 1} on expected {parts[0]}, found {parts[1]}"


def _part(text: str, start: int, longest: int, quote: Callable[[str], str]) -> str:
    before = "…" if start else ""
    after = "…" if len(text) > start + longest else ""
    return f"{before}{quote(text[start : start + longest])}{after}"


def beginning(body: bytes, longest: int = 300) -> str:
    """Return the beginning of a body as text."""
    text = body[: 4 * longest].decode(errors="backslashreplace")
    return f"{text[:longest]}…" if len(text) > longest or len(body) > 4 * longest else text


def text_differences(expected: bytes, found: bytes) -> list[str]:
    """Show the first difference of two unequal bodies: of texts as a diff, otherwise in hexadecimal."""
    texts = [_decode(expected), _decode(found)]
    if texts[0] is None or texts[1] is None:
        return list(_hex_lines(expected, found))
    return [*_remarks(texts[0], texts[1]), *_diff_lines(texts[0], texts[1])]


def _decode(body: bytes) -> str | None:
    """Decode a text; None for bytes that are none."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if _BINARY.intersection(body) else text


def _remarks(expected: str, found: str) -> Iterator[str]:
    """Describe differences that are invisible in a diff."""
    if found == f"{expected}\n":
        yield "the result has an unexpected line end at its end"
    elif expected == f"{found}\n":
        yield "the result lacks the line end at its end"
    elif found.replace("\r\n", "\n") == expected.replace("\r\n", "\n"):
        yield "only the line ends differ"
    elif found.split() == expected.split():
        yield "only white space differs"


def _diff_lines(expected: str, found: str) -> Iterator[str]:
    at = common_start(expected, found)
    before = expected.count("\n", 0, at)
    start = max(0, before - _CONTEXT_LINES)
    old, new = (text.split("\n")[start : start + _WINDOW] for text in (expected, found))
    if any(len(line) > _LONGEST_LINE for line in (*old, *new)):
        yield f"line {before + 1}: {_line_difference(expected, found, at)}"
        return
    yield f"from line {start + 1} on (- expected, + found):"
    diff = difflib.unified_diff(old, new, lineterm="", n=_CONTEXT_LINES)
    changes = (line for line in islice(diff, 2, None) if not line.startswith("@@"))
    yield from islice(changes, _MOST_LINES)
    if next(changes, None) is not None or any(text.count("\n") >= start + _WINDOW for text in (expected, found)):
        yield "…"


def _line_difference(expected: str, found: str, at: int) -> str:
    start = expected.rfind("\n", 0, at) + 1
    ends = [end if (end := text.find("\n", at)) >= 0 else len(text) for text in (expected, found)]
    return show_difference(expected[start : ends[0]], found[start : ends[1]], at - start, repr, _LONGEST_LINE // 2)


def _hex_lines(expected: bytes, found: bytes) -> Iterator[str]:
    at = common_start(expected, found)
    yield f"expected {len(expected):,} bytes, found {len(found):,}; the first difference is at byte {at:,} (0x{at:x}):"
    start = max(0, at - at % _HEX_ROW)
    for sign, body in (("-", expected), ("+", found)):
        for row in range(start, start + 2 * _HEX_ROW, _HEX_ROW):
            if part := body[row : row + _HEX_ROW]:
                ascii_text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)  # noqa: PLR2004
                yield f"{sign} {row:08x}  {part.hex(' '):<{3 * _HEX_ROW}} {ascii_text}"
