"""The platform's data types, as values.

These are the types of the Function Registry (`DataType` in lib-api.yml of the official Java SDK), and `binary`,
`unknown` and `ontologyEdit` of the Python SDK and the documentation. They are msgspec structs: at each start these are
defined in a tenth of the time of dataclasses.
"""

from collections.abc import Iterator
from typing import Final, Literal, get_args

from msgspec import Struct

SimpleName = Literal[
    "boolean",
    "byte",
    "short",
    "integer",
    "long",
    "float",
    "double",
    "string",
    "binary",
    "date",
    "timestamp",
    "ontologyEdit",
    "unknown",
]
SIMPLE_NAMES: Final[tuple[SimpleName, ...]] = get_args(SimpleName)

MAX_DEPTH: Final = 32
"""The maximum nesting of types. The official Java SDK stops at 10."""

MAX_SIZE: Final = 10_000
"""The maximum number of types in a type, with all names resolved: 30 names can make a schema of gigabytes."""


class SimpleType(Struct, frozen=True):
    """A type with nothing inside. `unknown` is any JSON value."""

    name: SimpleName


class DecimalType(Struct, frozen=True):
    """Decimal numbers with at most `precision` digits, at most `scale` of them after the point; None for no limit."""

    precision: int | None = None
    scale: int | None = None


class ListType(Struct, frozen=True):
    """A JSON array."""

    element: "DataType"


class SetType(Struct, frozen=True):
    """A JSON array whose order has no meaning."""

    element: "DataType"


class MapType(Struct, frozen=True):
    """A JSON object with any names; the type of the key is the type of the names."""

    key: "DataType"
    value: "DataType"


class OptionalType(Struct, frozen=True):
    """The wrapped type, or null."""

    wrapped: "DataType"


class Field(Struct, frozen=True, kw_only=True):
    """A member of a struct. One that is not required may be left out or null."""

    name: str
    type: "DataType"
    required: bool
    description: str | None = None


class StructType(Struct, frozen=True):
    """A JSON object with certain members, which the protocol calls an anonymous custom type."""

    fields: tuple[Field, ...]


DataType = SimpleType | DecimalType | ListType | SetType | MapType | OptionalType | StructType

UNKNOWN: Final = SimpleType("unknown")
STRING: Final = SimpleType("string")


def required_by_default(type_: DataType) -> bool:
    """Return whether a member of this type is required by default."""
    return not isinstance(type_, OptionalType)


def is_key_type(type_: DataType) -> bool:
    """Return whether a map's keys may have this type, which is written as a word (`AllowedKeyTypes` of the SDK)."""
    if isinstance(type_, SimpleType):
        return type_.name not in {"ontologyEdit", "unknown"}
    return isinstance(type_, DecimalType)


def children(type_: DataType) -> Iterator[DataType]:
    """Yield the types that a type consists of."""
    match type_:
        case ListType(element) | SetType(element):
            yield element
        case MapType(key, value):
            yield from (key, value)
        case OptionalType(wrapped):
            yield wrapped
        case StructType(fields):
            yield from (field.type for field in fields)


def size_problem(type_: DataType) -> str | None:
    """Return why a type is too large, None if it is not."""
    size, waiting = 0, [(type_, 1)]
    while waiting:
        current, depth = waiting.pop()
        size += 1
        if depth > MAX_DEPTH:
            return f"types are nested more than {MAX_DEPTH} deep"
        if size > MAX_SIZE:
            return f"it has more than {MAX_SIZE} types, with all names resolved"
        waiting.extend((inner, depth + 1) for inner in children(current))
    return None
