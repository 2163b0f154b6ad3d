"""Ranges of the values of an input (`Constraint` in lib-api.yml of the official Java SDK)."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from cm_exec.datatypes.model import DataType, DecimalType, OptionalType, SimpleType
from cm_exec.datatypes.scalars import parse_date, parse_timestamp

RangeKind = Literal["integer", "long", "float", "double", "decimal", "date", "timestamp"]
Bound = int | float | Decimal | date | datetime

_SAFE: Final = 2**53 - 1
_BITS: Final = {"integer": 2**31 - 1, "long": _SAFE}


class Range(Struct, frozen=True, kw_only=True):
    """A range from `min` to `max`, both included; None for no end."""

    kind: RangeKind
    min: Bound | None = None
    max: Bound | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it contains no value."""
        low: Any = self.min
        high: Any = self.max
        return low is not None and high is not None and low > high

    def describe(self) -> str:
        """Return a description such as "from 1 to 100"."""
        low, high = _shown(self.min), _shown(self.max)
        if low is None:
            return f"up to {high}"
        return f"from {low}" if high is None else f"from {low} to {high}"

    def holds(self, value: Any) -> bool:
        """Return whether the range contains a value of the right type."""
        bound = _VALUES[self.kind](value)
        if bound is None:
            return True
        low: Any = self.min
        high: Any = self.max
        return (low is None or low <= bound) and (high is None or bound <= high)

    def json(self) -> dict[str, Any]:
        """Return the constraint as the tagged union `{"type": KIND, KIND: {"min", "max"}}`."""
        ends = {"min": _end_json(self.min), "max": _end_json(self.max)}
        return {"type": self.kind, self.kind: {name: end for name, end in ends.items() if end is not None}}


def range_kind(type_: DataType) -> RangeKind | None:
    """Return the kind of range that an input of this type can have, None for none."""
    match type_:
        case OptionalType(wrapped):
            return range_kind(wrapped)
        case DecimalType():
            return "decimal"
        case SimpleType("integer" | "long" | "float" | "double" | "date" | "timestamp" as kind):
            return kind
    return None


def read_bound(kind: RangeKind, value: object) -> Bound | None:
    """Return the end of a range, from a TOML number, date, time or a string with one; None if it is invalid."""
    return _READERS[kind](value)


def describe_bound(kind: RangeKind) -> str:
    """Return a description of the values that `read_bound` accepts."""
    return _BOUND_WORDS[kind]


def _whole(limit: int) -> Callable[[object], Bound | None]:
    return lambda value: value if type(value) is int and abs(value) <= limit else None


def _number(value: object) -> Bound | None:
    return value if isinstance(value, int | float) and type(value) is not bool and abs(value) < float("inf") else None


def _decimal(value: object) -> Bound | None:
    if type(value) is int:
        return Decimal(value)
    try:
        decimal = Decimal(str(value)) if isinstance(value, float | str) else None
    except InvalidOperation:
        return None
    return decimal if decimal is not None and decimal.is_finite() else None


def _date(value: object) -> Bound | None:
    if isinstance(value, str):
        return parse_date(value)
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _timestamp(value: object) -> Bound | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    return parse_timestamp(value)


_READERS: Final[dict[RangeKind, Callable[[object], Bound | None]]] = {
    "integer": _whole(2**31 - 1),
    "long": _whole(_SAFE),
    "float": _number,
    "double": _number,
    "decimal": _decimal,
    "date": _date,
    "timestamp": _timestamp,
}
_BOUND_WORDS: Final[dict[RangeKind, str]] = {
    "integer": "an integer of 32 bits",
    "long": "an integer of 53 bits, the limit of the protocol for ranges",
    "float": "a number",
    "double": "a number",
    "decimal": 'a number, or a string with one such as "0.01"',
    "date": "a date such as 1969-07-20",
    "timestamp": "a time with an offset, such as 1969-07-20T20:17:40Z",
}


def _number_of(value: Any) -> Any:
    """Return a number, which may be in a string; NaN and infinities are in no range."""
    return value if not isinstance(value, str) else int(value) if value.lstrip("-").isdigit() else float(value)


_VALUES: Final[dict[RangeKind, Callable[[Any], Any]]] = {
    "integer": _number_of,
    "long": _number_of,
    "float": _number_of,
    "double": _number_of,
    "decimal": Decimal,
    "date": parse_date,
    "timestamp": parse_timestamp,
}


def _shown(end: Bound | None) -> str | None:
    if isinstance(end, datetime):
        return _iso(end)
    return None if end is None else end.isoformat() if isinstance(end, date) else str(end)


def _end_json(end: Bound | None) -> Any:
    if isinstance(end, Decimal):
        return msgspec.Raw(f"{end:f}".encode())  # a JSON number with the digits that were written
    return _shown(end) if isinstance(end, date) else end


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
