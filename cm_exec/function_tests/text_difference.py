"""Where a text or other bytes differ from the expected ones."""

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Final

from cm_exec.function_tests.excerpt import common_start, contrast

_AROUND: Final = 3
"""Lines before the first difference."""

_WINDOW: Final = 60
_MOST_LINES: Final = 40
_LONGEST_LINE: Final = 160
_ROW: Final = 16
"""Bytes."""

_BINARY: Final = frozenset(range(0x20)) - frozenset(b"\t\n\v\f\r\x1b")


def text_differences(expected: bytes, found: bytes) -> list[str]:
    """Lines that show the first difference, for two bodies that are not equal: of texts as a diff, else in hex."""
    wanted, there = _text(expected), _text(found)
    if wanted is None or there is None:
        return list(_hex_lines(expected, found))
    return [*_remarks(wanted, there), *_diff_lines(wanted, there)]


def _text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if _BINARY.intersection(body) else text


def _remarks(expected: str, found: str) -> Iterator[str]:
    """What the eye does not see in a diff."""
    if found == f"{expected}\n":
        yield "it has a line end at its end that is not expected"
    elif expected == f"{found}\n":
        yield "it lacks the line end at its end"
    elif found.replace("\r\n", "\n") == expected.replace("\r\n", "\n"):
        yield "only the line ends differ"
    elif found.split() == expected.split():
        yield "only white space differs"


def _diff_lines(expected: str, found: str) -> Iterator[str]:
    at = common_start(expected, found)
    before = expected.count("\n", 0, at)
    start = max(0, before - _AROUND)
    wanted, there = (text.split("\n")[start : start + _WINDOW] for text in (expected, found))
    if any(len(line) > _LONGEST_LINE for line in (*wanted, *there)):
        yield f"line {before + 1}: {_in_line(expected, found, at)}"
        return
    yield f"from line {start + 1} on (- expected, + found):"
    diff = difflib.unified_diff(wanted, there, lineterm="", n=_AROUND)
    changes = (line for line in islice(diff, 2, None) if not line.startswith("@@"))
    yield from islice(changes, _MOST_LINES)
    if next(changes, None) is not None or any(text.count("\n") >= start + _WINDOW for text in (expected, found)):
        yield "…"


def _in_line(expected: str, found: str, at: int) -> str:
    start = expected.rfind("\n", 0, at) + 1
    ends = [end if (end := text.find("\n", at)) >= 0 else len(text) for text in (expected, found)]
    return contrast(expected[start : ends[0]], found[start : ends[1]], at - start, repr, _LONGEST_LINE // 2)


def _hex_lines(expected: bytes, found: bytes) -> Iterator[str]:
    at = common_start(expected, found)
    yield f"expected {len(expected):,} bytes, found {len(found):,}; the first difference is at byte {at:,} (0x{at:x}):"
    start = max(0, at - at % _ROW)
    for sign, body in (("-", expected), ("+", found)):
        for row in range(start, start + 2 * _ROW, _ROW):
            if part := body[row : row + _ROW]:
                yield f"{sign} {row:08x}  {part.hex(' '):<{3 * _ROW}} {_characters(part)}"


def _characters(part: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)  # noqa: PLR2004 - what ASCII prints
