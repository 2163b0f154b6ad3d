"""Parts of long texts, as they are shown."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

Text = TypeVar("Text", str, bytes)

_BEFORE: Final = 20
"""Characters before a difference, so that one sees where it is."""

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""The text with control characters and what no encoding has as escapes, such as \x1b; it can stand in XML.

    They must not move the terminal's cursor, or hide a line.
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - a byte's worth


def common_start(one: Text, other: Text) -> int:
    """How many characters or bytes both begin with, in a few comparisons of large parts."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def contrast(expected: str, found: str, at: int, quote: Callable[[str], str], longest: int) -> str:
    """Both texts; of long ones what is around their first difference, which is `at`."""
    if max(len(expected), len(found)) <= longest:
        return f"expected {quote(expected)}, found {quote(found)}"
    start = max(0, at - _BEFORE)
    parts = [_part(text, start, longest, quote) for text in (expected, found)]
    return f"from character {at + 1} on expected {parts[0]}, found {parts[1]}"


def _part(text: str, start: int, longest: int, quote: Callable[[str], str]) -> str:
    before = "…" if start else ""
    after = "…" if len(text) > start + longest else ""
    return f"{before}{quote(text[start : start + longest])}{after}"


def beginning(body: bytes, longest: int = 300) -> str:
    """How a body begins, as text."""
    text = body[: 4 * longest].decode(errors="backslashreplace")
    return f"{text[:longest]}…" if len(text) > longest or len(body) > 4 * longest else text
