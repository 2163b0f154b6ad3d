"""Function schemas, which are published at start, so that Foundry lists the module's functions; ranges of inputs."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from cm_exec.datatypes import STRING, DataType, DecimalType, Field, OptionalType, SimpleType, type_json
from cm_exec.datatypes.check import Check, checker, members_checker, raise_out_of_range
from cm_exec.datatypes.scalars import parse_date, parse_timestamp

RangeKind = Literal["integer", "long", "float", "double", "decimal", "date", "timestamp"]
Bound = int | float | Decimal | date | datetime

_SAFE: Final = 2**53 - 1


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


def _whole_bound(low: int, high: int) -> Callable[[object], Bound | None]:
    return lambda value: value if type(value) is int and low <= value <= high else None


def _number_bound(value: object) -> Bound | None:
    return value if isinstance(value, int | float) and type(value) is not bool and abs(value) < float("inf") else None


def _decimal_bound(value: object) -> Bound | None:
    if type(value) is int:
        return Decimal(value)
    try:
        decimal = Decimal(str(value)) if isinstance(value, float | str) else None
    except InvalidOperation:
        return None
    return decimal if decimal is not None and decimal.is_finite() else None


def _date_bound(value: object) -> Bound | None:
    if isinstance(value, str):
        return parse_date(value)
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _timestamp_bound(value: object) -> Bound | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    return parse_timestamp(value)


_READERS: Final[dict[RangeKind, Callable[[object], Bound | None]]] = {
    "integer": _whole_bound(-(2**31), 2**31 - 1),
    "long": _whole_bound(-_SAFE, _SAFE),
    "float": _number_bound,
    "double": _number_bound,
    "decimal": _decimal_bound,
    "date": _date_bound,
    "timestamp": _timestamp_bound,
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


class Input(Field, frozen=True, kw_only=True):
    """A member of a function's query."""

    range: Range | None = None


class Returns(Struct, frozen=True, kw_only=True):
    """The result of a function. `type` is None for `void`."""

    type: DataType | None
    description: str | None = None


class FunctionSchema(Struct, frozen=True, kw_only=True):
    """A function as it is published. `inputs` or `returns` is None if it is not declared.

    `edits` are the IDs of the object types that the function edits.
    """

    name: str
    description: str | None = None
    inputs: tuple[Input, ...] | None = None
    returns: Returns | None = None
    edits: tuple[str, ...] = ()


def schemas_body(schemas: Iterable[FunctionSchema]) -> bytes:
    """Return the JSON array for POST schemas.

    A function without declared types is published as by the official Python SDK: without inputs, with a string as
    output. The protocol has no description of a function, so it becomes that of an output without one.
    """
    return msgspec.json.encode([_schema_json(schema) for schema in schemas])


def _schema_json(schema: FunctionSchema) -> dict[str, Any]:
    provenance: dict[str, Any] = {"editedObjects": {name: {} for name in schema.edits}, "editedLinks": {}}
    return {
        "functionName": schema.name,
        "inputs": [_input_json(each) for each in schema.inputs or ()],
        "output": _output_json(schema.returns or Returns(type=STRING), schema.description),
        "ontologyProvenance": provenance if schema.edits else None,
    }


def _input_json(each: Input) -> dict[str, Any]:
    description = {} if each.description is None else {"description": each.description}
    return {
        "name": each.name,
        **description,
        "required": each.required,
        "constraints": [] if each.range is None else [each.range.json()],
        "dataType": type_json(each.type),
    }


def _output_json(returns: Returns, of_function: str | None) -> dict[str, Any]:
    if returns.type is None:
        return {"type": "void", "void": {}}
    description = returns.description or of_function
    described = {} if description is None else {"description": description}
    return {"type": "single", "single": {**described, "dataType": type_json(returns.type)}}


def query_checker(inputs: Iterable[Input]) -> Check:
    """Return the check for a query: an object with the inputs and no other members."""
    return members_checker([(each, _checker(each)) for each in inputs])


def _checker(each: Input) -> Check:
    of_type, range_ = checker(each.type), each.range
    if range_ is None:
        return of_type

    def check(value: Any) -> None:
        of_type(value)
        if value is not None and not range_.holds(value):
            raise_out_of_range(range_.describe())

    return check
