"""Find the members of a JSON object by their positions.

This reads what msgspec refuses: half a surrogate pair, more than a thousand levels, control characters in strings. It
looks at strings and brackets only and does not recurse.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN: Final = re.compile(_STRING + rb"|[{}\[\]]|[^\s,:{}\[\]\"]+|[,:]", re.DOTALL)
_SPACE: Final = re.compile(rb"\s*")


def member_spans(text: bytes, at: int = 0) -> dict[str, tuple[int, int]]:
    """Return where each member's value starts and ends, of the object that starts at `at`.

    Raises ValueError if there is no such object.
    """
    tokens = _tokens(text, at)
    if next(tokens, (b"", 0, 0))[0] != b"{":
        raise ValueError("no object")
    spans: dict[str, tuple[int, int]] = {}
    for name, _, _ in tokens:
        if name == b"}" and not spans:
            return spans
        if not name.startswith(b'"') or next(tokens, (b"", 0, 0))[0] != b":":
            raise ValueError("no member")
        spans[_decoded(name)] = _value_span(tokens)
        separator = next(tokens, (b"", 0, 0))[0]
        if separator == b"}":
            return spans
        if separator != b",":
            raise ValueError("no comma")
    raise ValueError("the object does not end")


def _decoded(name: bytes) -> str:
    try:
        return msgspec.json.decode(name, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return name.decode(errors="replace")  # none of the names that anybody looks for


def _value_span(tokens: Iterator[tuple[bytes, int, int]]) -> tuple[int, int]:
    depth, start = 0, -1
    for token, begin, end in tokens:
        start = begin if start < 0 else start
        if token in {b"{", b"["}:
            depth += 1
        elif token in {b"}", b"]"}:
            depth -= 1
        elif depth == 0 and token in {b",", b":"}:
            raise ValueError("no value")
        if depth < 0:
            raise ValueError("no value")
        if depth == 0:
            return start, end
    raise ValueError("the value does not end")


def _tokens(text: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        match = _TOKEN.match(text, at)
        if match is None:
            return
        yield match.group(), match.start(), match.end()
        at = match.end()
