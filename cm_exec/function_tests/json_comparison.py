"""The differences between a JSON value and the expected one, each with its path."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from cm_exec.function_tests.text_comparison import common_start, show_difference
from cm_exec.protocol.json_text import InvalidJsonError, json_problem

_LONGEST: Final = 72
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
        return json.loads(text.decode(), parse_constant=_refuse, parse_int=integer, parse_float=number)
    except (ValueError, RecursionError):
        raise InvalidJsonError(json_problem(text) or "it is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


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
        return show_difference(expected, found, at, _quoted, _LONGEST)
    return f"expected {shown(expected)}, found {shown(found)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def shown(value: Any) -> str:
    """Return the value as JSON, cut if it is long."""
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += part
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]}…"
    return text


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _path_segment(name: str) -> str:
    cut = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return f".{cut}" if _PLAIN.fullmatch(cut) else f"[{_quoted(cut)}]"
