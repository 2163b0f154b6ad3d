"""The differences between a result and the expected one: of texts and other bytes, or of JSON values by their paths."""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeVar

from cm_exec.datatypes import DataType, ListType, MapType, OptionalType, SetType, StructType
from cm_exec.protocol.json_text import InvalidJsonError, json_problem, refuse_constant

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


_LONGEST_VALUE: Final = 72
_MOST_DIGITS: Final = 4000
"""The longest integer that Python reads and writes."""

_BEYOND_A_DOUBLE: Final = re.compile(rb"[eE]\+?0*[0-9]{3}|[0-9]{300}")
"""A text without a match has no such number. Parsing each number by a function of its own takes ten times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """What counts as equal: with `subset` an object with more members, and numbers that differ by `tolerance`."""

    subset: bool = False
    tolerance: float = 0.0


EXACT: Final = ComparisonOptions()


def decode(text: bytes) -> Any:
    """Decode JSON. Integers are exact; other numbers are doubles, or decimals if a double overflows.

    Raises InvalidJsonError.
    """
    integer, number = (_integer, _number) if _BEYOND_A_DOUBLE.search(text) else (None, None)
    try:
        return json.loads(text.decode(), parse_constant=refuse_constant, parse_int=integer, parse_float=number)
    except (ValueError, RecursionError):
        raise InvalidJsonError(json_problem(text) or "it is nested too deeply") from None


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _MOST_DIGITS else Decimal(digits)


def _number(digits: str) -> float | Decimal:
    number = float(digits)
    if math.isfinite(number):
        return number
    try:
        return Decimal(digits)
    except ArithmeticError:  # an exponent of twenty digits
        return number


def differences(expected: Any, found: Any, options: ComparisonOptions = EXACT, path: str = "$") -> Iterator[str]:
    """Yield a line for each difference: its path, the expected value and the found one. Raises RecursionError.

    The order of an object's members does not matter. Arrays are compared item by item; if their lengths differ,
    without their common beginning and end. 1 and 1.0 are the same number, and true is not a number.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        yield from _members(expected, found, options, path)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _items(expected, found, options, path)
    elif not _same(expected, found, options.tolerance):
        yield f"{path}: {_difference(expected, found)}"


def _members(expected: dict[str, Any], found: dict[str, Any], options: ComparisonOptions, path: str) -> Iterator[str]:
    for name, value in expected.items():
        if name not in found:
            yield f"{path}{_path_segment(name)}: expected {shown(value)}, found nothing"
        elif not _plainly_equal(value, found[name]):
            yield from differences(value, found[name], options, path + _path_segment(name))
    for name, value in found.items():
        if name not in expected and not options.subset:
            yield f"{path}{_path_segment(name)}: expected nothing, found {shown(value)}"


def _items(expected: list[Any], found: list[Any], options: ComparisonOptions, path: str) -> Iterator[str]:
    start, end = 0, 0
    if len(expected) != len(found):
        yield f"{path}: expected {_count(expected)}, found {_count(found)}"
        start = _equal_items(expected, found, options)
        end = _equal_items(expected[start:][::-1], found[start:][::-1], options)
    wanted, there = expected[start : len(expected) - end], found[start : len(found) - end]
    for index, (one, other) in enumerate(zip(wanted, there, strict=False), start):
        if not _plainly_equal(one, other):
            yield from differences(one, other, options, f"{path}[{index}]")
    both = min(len(wanted), len(there))
    for index, value in enumerate(wanted[both:], start + both):
        yield f"{path}[{index}]: expected {shown(value)}, found nothing"
    for index, value in enumerate(there[both:], start + both):
        yield f"{path}[{index}]: expected nothing, found {shown(value)}"


def _count(items: Sequence[Any]) -> str:
    return f"{len(items)} item{'' if len(items) == 1 else 's'}"


def _equal_items(expected: list[Any], found: list[Any], options: ComparisonOptions) -> int:
    """Count the equal items at the beginning of both."""
    count = 0
    for one, other in zip(expected, found, strict=False):
        if next(differences(one, other, options), None) is not None:
            break
        count += 1
    return count


_MOST_PAIRS: Final = 10_000
"""Pairs of unequal texts of which it is found out whether they are the same item of a set."""


def arranged(expected: Any, found: Any, type_: DataType, options: ComparisonOptions) -> Any:
    """Return what was found with the items of each set in the order in which they are expected."""
    match type_, expected, found:
        case OptionalType(wrapped), _, _:
            return arranged(expected, found, wrapped, options)
        case SetType(element), list(), list():
            return _arranged_set(expected, found, element, options)
        case ListType(element), list(), list():
            both = [arranged(one, other, element, options) for one, other in zip(expected, found, strict=False)]
            return both + found[len(both) :]
        case MapType(_, value), dict(), dict():
            types = dict.fromkeys(found, value)
        case StructType(fields), dict(), dict():
            types = {field.name: field.type for field in fields}
        case _:
            return found
    return {
        name: arranged(expected[name], item, types[name], options) if name in expected and name in types else item
        for name, item in found.items()
    }


def _arranged_set(expected: list[Any], found: list[Any], element: DataType, options: ComparisonOptions) -> list[Any]:
    by_text: dict[str, list[Any]] = {}
    for item in found:
        by_text.setdefault(_canonical(item), []).append(item)
    places: list[Any] = [by_text[text].pop() if by_text.get(text) else _EMPTY for text in map(_canonical, expected)]
    rest = [item for items in by_text.values() for item in items]
    if places.count(_EMPTY) * len(rest) <= _MOST_PAIRS:
        for index, wanted in enumerate(expected):
            candidates = ((at, arranged(wanted, item, element, options)) for at, item in enumerate(rest))
            if places[index] is _EMPTY:
                same = (each for each in candidates if next(differences(wanted, each[1], options), None) is None)
                at, places[index] = next(same, (None, _EMPTY))
                if at is not None:
                    del rest[at]
    remaining = iter(rest)
    whole = (next(remaining, _EMPTY) if place is _EMPTY else place for place in places)
    return [each for each in whole if each is not _EMPTY] + list(remaining)


_EMPTY: Final = object()


def _canonical(item: Any) -> str:
    return json.dumps(item, sort_keys=True, default=str)


def _plainly_equal(one: Any, other: Any) -> bool:
    """Compare quickly: most values are equal."""
    return type(one) is type(other) and not isinstance(one, dict | list) and bool(one == other)


def _same(expected: Any, found: Any, tolerance: float) -> bool:
    if _is_number(expected) and _is_number(found):
        return expected == found or (tolerance > 0 and _near(expected, found, tolerance))
    return type(expected) is type(found) and bool(expected == found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _near(expected: Any, found: Any, tolerance: float) -> bool:
    """Compare in decimal, so that 0.3 and 0.4 differ by no more than 0.1."""
    try:
        return abs(Decimal(str(expected)) - Decimal(str(found))) <= Decimal(str(tolerance))
    except ArithmeticError:
        return False


def _difference(expected: Any, found: Any) -> str:
    if isinstance(expected, str) and isinstance(found, str):
        at = common_start(expected, found)
        return show_difference(expected, found, at, _quoted, _LONGEST_VALUE)
    return f"expected {shown(expected)}, found {shown(found)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def shown(value: Any) -> str:
    """Return the value as JSON, cut if it is long."""
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += part
        if len(text) > _LONGEST_VALUE:
            return f"{text[:_LONGEST_VALUE]}…"
    return text


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _path_segment(name: str) -> str:
    cut = name if len(name) <= _LONGEST_VALUE else f"{name[:_LONGEST_VALUE]}…"
    return f".{cut}" if _PLAIN.fullmatch(cut) else f"[{_quoted(cut)}]"
