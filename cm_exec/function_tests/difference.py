"""Where a JSON value differs from the expected one, place by place."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from cm_exec.function_tests.excerpt import common_start, contrast
from cm_exec.protocol.json_text import json_problem

_LONGEST: Final = 72
_MOST_DIGITS: Final = 4000
"""Python reads and writes no longer integer."""

_BEYOND_A_DOUBLE: Final = re.compile(rb"[eE]\+?0*[0-9]{3}|[0-9]{300}")
"""In a text without this no number is one; one by one they take ten times as long to read."""


class NotJsonError(Exception):
    """Bytes that are no JSON text. Its own text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What counts as equal: with `subset` an object that has more members, and numbers `tolerance` apart."""

    subset: bool = False
    tolerance: float = 0.0


EXACT: Final = Likeness()


def decode(text: bytes) -> Any:
    """The JSON value in `text`. Integers are exact, other numbers are doubles, or decimals beyond those.

    Raises NotJsonError.
    """
    integer, number = (_integer, _number) if _BEYOND_A_DOUBLE.search(text) else (None, None)
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_int=integer, parse_float=number)
    except (ValueError, RecursionError):
        raise NotJsonError(json_problem(text) or "it is nested too deep") from None


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


def differences(expected: Any, found: Any, likeness: Likeness = EXACT, path: str = "$") -> Iterator[str]:
    """A line for each place: its path, what is expected and what was found. Raises RecursionError.

    Objects are compared by their members, in any order; arrays item by item, and where one is longer, without what
    both begin and end with. 1 and 1.0 are the same number, true is none.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        yield from _members(expected, found, likeness, path)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _items(expected, found, likeness, path)
    elif not _same(expected, found, likeness.tolerance):
        yield f"{path}: {_contrasted(expected, found)}"


def _members(expected: dict[str, Any], found: dict[str, Any], likeness: Likeness, path: str) -> Iterator[str]:
    for name, value in expected.items():
        if name not in found:
            yield f"{path}{_step(name)}: expected {shown(value)}, found nothing"
        elif not _plainly_equal(value, found[name]):
            yield from differences(value, found[name], likeness, path + _step(name))
    for name, value in found.items():
        if name not in expected and not likeness.subset:
            yield f"{path}{_step(name)}: expected nothing, found {shown(value)}"


def _items(expected: list[Any], found: list[Any], likeness: Likeness, path: str) -> Iterator[str]:
    start, end = 0, 0
    if len(expected) != len(found):
        yield f"{path}: expected {_count(expected)}, found {_count(found)}"
        start = _equal_items(expected, found, likeness)
        end = _equal_items(expected[start:][::-1], found[start:][::-1], likeness)
    wanted, there = expected[start : len(expected) - end], found[start : len(found) - end]
    for index, (one, other) in enumerate(zip(wanted, there, strict=False), start):
        if not _plainly_equal(one, other):
            yield from differences(one, other, likeness, f"{path}[{index}]")
    both = min(len(wanted), len(there))
    for index, value in enumerate(wanted[both:], start + both):
        yield f"{path}[{index}]: expected {shown(value)}, found nothing"
    for index, value in enumerate(there[both:], start + both):
        yield f"{path}[{index}]: expected nothing, found {shown(value)}"


def _count(items: Sequence[Any]) -> str:
    return f"{len(items)} item{'' if len(items) == 1 else 's'}"


def _equal_items(expected: list[Any], found: list[Any], likeness: Likeness) -> int:
    """With how many equal items both begin."""
    count = 0
    for one, other in zip(expected, found, strict=False):
        if next(differences(one, other, likeness), None) is not None:
            break
        count += 1
    return count


def _plainly_equal(one: Any, other: Any) -> bool:
    """A first look, for most values are equal."""
    return type(one) is type(other) and not isinstance(one, dict | list) and bool(one == other)


def _same(expected: Any, found: Any, tolerance: float) -> bool:
    if _is_number(expected) and _is_number(found):
        return expected == found or (tolerance > 0 and _near(expected, found, tolerance))
    return type(expected) is type(found) and bool(expected == found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _near(expected: Any, found: Any, tolerance: float) -> bool:
    """In decimal, so that 0.3 and 0.4 are no more than 0.1 apart."""
    try:
        return abs(Decimal(str(expected)) - Decimal(str(found))) <= Decimal(str(tolerance))
    except ArithmeticError:
        return False


def _contrasted(expected: Any, found: Any) -> str:
    if isinstance(expected, str) and isinstance(found, str):
        at = common_start(expected, found)
        return contrast(expected, found, at, _quoted, _LONGEST)
    return f"expected {shown(expected)}, found {shown(found)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def shown(value: Any) -> str:
    """The value as JSON, cut where it is long."""
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += part
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]}…"
    return text


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _step(name: str) -> str:
    cut = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return f".{cut}" if _PLAIN.fullmatch(cut) else f"[{_quoted(cut)}]"
