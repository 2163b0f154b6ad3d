"""JSON texts as bytes (RFC 8259): check them, decode them, and find the members of an object."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec

_LEXEME: Final = (  # compiled when it is needed: most runs do not
    r'[ \t\n\r]*(?:(?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")'
    r"|(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
    r"|(?P<mark>[{}\[\],:]))"
)


def json_problem(text: bytes) -> str | None:
    """Return what is wrong with `text` as one JSON value in UTF-8, None if it is one."""
    if not text or text.isspace():
        return "it is empty"
    try:
        if not text.isascii():
            text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    except (msgspec.DecodeError, RecursionError) as error:
        return None if is_json(text.decode()) else str(error)
    return None


def is_json(text: str) -> bool:
    """Check without recursion what msgspec refuses and JSON allows: half a surrogate pair, deep nesting."""
    expected = "value"  # value, value or ], name or }, name, colon, more (a comma, the end of a container or the text)
    stack: list[str] = []
    at = 0
    lexeme = re.compile(_LEXEME)
    while at < len(text) and (match := lexeme.match(text, at)):
        at = match.end()
        part = match.group(match.lastgroup or 0)
        if match.lastgroup == "string" and expected.startswith("name"):
            expected = "colon"
        elif match.lastgroup != "mark":
            if not expected.startswith("value"):
                return False
            expected = "more"
        elif part in "{[":
            if not expected.startswith("value"):
                return False
            stack.append("}" if part == "{" else "]")
            expected = "name or }" if part == "{" else "value or ]"
        elif part == ":" and expected == "colon":
            expected = "value"
        elif part == "," and expected == "more" and stack:
            expected = "name" if stack[-1] == "}" else "value"
        elif stack and part == stack[-1] and (expected == "more" or expected.endswith(part)):
            stack.pop()
            expected = "more"
        else:
            return False
    return expected == "more" and not stack and not text[at:].strip(" \t\n\r")


class InvalidJsonError(Exception):
    """Raised for bytes that are not JSON. Its text gives the reason."""


def decode_json(text: bytes) -> Any:
    """Return the value of a JSON text. A number beyond the range of a double becomes infinite.

    Raises InvalidJsonError.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(text.decode(), parse_constant=refuse_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        raise InvalidJsonError(json_problem(text) or "it is nested too deeply") from None


def refuse_constant(constant: str) -> NoReturn:
    """Raise ValueError for NaN or an infinity, which Python's reader takes."""
    raise ValueError(constant)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 400 else float(digits)  # noqa: PLR2004 - a double ends at 309


_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_BYTE_TOKEN: Final = re.compile(_STRING + rb"|[{}\[\]]|[^\s,:{}\[\]\"]+|[,:]", re.DOTALL)
_SPACE: Final = re.compile(rb"\s*")


def member_spans(text: bytes, at: int = 0) -> dict[str, tuple[int, int]]:
    """Return where each member's value starts and ends, of the object that starts at `at`.

    This reads what msgspec refuses: half a surrogate pair, more than a thousand levels, control characters in strings.
    It looks at strings and brackets only and does not recurse. Raises ValueError if there is no such object.
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
        match = _BYTE_TOKEN.match(text, at)
        if match is None:
            return
        yield match.group(), match.start(), match.end()
        at = match.end()
