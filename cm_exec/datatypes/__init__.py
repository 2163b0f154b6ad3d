"""The platform's data types as values, their form in the protocol's JSON, and examples of their values.

These are the types of the Function Registry (`DataType` in lib-api.yml of the official Java SDK), and `binary`,
`unknown` and `ontologyEdit` of the Python SDK and the documentation. They are msgspec structs: at each start these are
defined in a tenth of the time of dataclasses.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_args

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
BINARY: Final = SimpleType("binary")


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


class TypeJsonError(Exception):
    """Raised for JSON that is no type of the protocol. Its text gives the reason, without a full stop."""


def type_json(type_: DataType) -> dict[str, Any]:  # noqa: PLR0911 - one return per kind of type
    """Return the type as the tagged union `{"type": T, T: {...}}`."""
    match type_:
        case SimpleType(name):
            return _tagged(name)
        case DecimalType(precision, scale):
            digits = {"precision": precision, "scale": scale}
            return _tagged("decimal", {key: value for key, value in digits.items() if value is not None})
        case ListType(element):
            return _tagged("list", {"elementsType": type_json(element)})
        case SetType(element):
            return _tagged("set", {"elementsType": type_json(element)})
        case MapType(key, value):
            return _tagged("map", {"keysType": type_json(key), "valuesType": type_json(value)})
        case OptionalType(wrapped):
            return _tagged("optionalType", {"wrappedType": type_json(wrapped)})
        case StructType(fields):
            return _tagged("anonymousCustomType", _fields_json(fields))


def _tagged(name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": name, name: dict(body or {})}


def _fields_json(fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return the body, with metadata for all fields or for none, as lib-api.yml requires."""
    body: dict[str, Any] = {"fields": {field.name: type_json(field.type) for field in fields}}
    if any(field.description or field.required is not required_by_default(field.type) for field in fields):
        body["fieldMetadata"] = {field.name: _metadata(field) for field in fields}
    return body


def _metadata(field: Field) -> dict[str, Any]:
    documentation = {} if field.description is None else {"documentation": field.description}
    return {"required": field.required, **documentation}


def type_from_json(json: object, depth: int = 1) -> DataType:
    """Return the type that JSON of any client describes. Raises TypeJsonError."""
    if depth > MAX_DEPTH:
        raise TypeJsonError(f"types are nested more than {MAX_DEPTH} deep")
    name = json.get("type") if isinstance(json, Mapping) else None
    body = json.get(name) if isinstance(json, Mapping) and isinstance(name, str) else None
    if not isinstance(name, str) or not isinstance(body, Mapping | None):
        raise TypeJsonError("a type is an object with the name of the type at `type` and its parts at that name")
    for simple in SIMPLE_NAMES:
        if simple == name:
            return SimpleType(simple)
    return _compound(name, body or {}, depth + 1)


def _compound(name: str, body: Mapping[str, Any], depth: int) -> DataType:
    def inner(member: str) -> DataType:
        return type_from_json(body.get(member), depth)

    match name:
        case "decimal":
            return DecimalType(_digits(body, "precision"), _digits(body, "scale"))
        case "list":
            return ListType(inner("elementsType"))
        case "set":
            return SetType(inner("elementsType"))
        case "map":
            return MapType(inner("keysType"), inner("valuesType"))
        case "optionalType":
            return OptionalType(inner("wrappedType"))
        case "anonymousCustomType":
            return StructType(tuple(_fields_from(body, depth)))
    raise TypeJsonError(f"the protocol has no type {name}")


def _digits(body: Mapping[str, Any], member: str) -> int | None:
    value = body.get(member)
    if value is not None and type(value) is not int:
        raise TypeJsonError(f"the {member} of a decimal is an integer")
    return value


def _fields_from(body: Mapping[str, Any], depth: int) -> list[Field]:
    fields, metadata = body.get("fields"), body.get("fieldMetadata") or {}
    if not isinstance(fields, Mapping) or not isinstance(metadata, Mapping):
        raise TypeJsonError("an anonymousCustomType has fields")
    return [_field_from(name, json, metadata.get(name), depth) for name, json in fields.items()]


def _field_from(name: str, json: object, metadata: object, depth: int) -> Field:
    type_ = type_from_json(json, depth)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    required = metadata.get("required", required_by_default(type_))
    return Field(name=name, type=type_, required=required is True, description=metadata.get("documentation"))


_SAMPLES: Final[dict[SimpleName, Any]] = {
    "boolean": True,
    "byte": 1,
    "short": 1,
    "integer": 1,
    "long": 1,
    "float": 1.5,
    "double": 1.5,
    "string": "text",
    "binary": "text",
    "date": "2024-02-29",
    "timestamp": "2024-02-29T12:00:00Z",
    "ontologyEdit": {},
    "unknown": "anything",
}


def sample(type_: DataType) -> Any:
    """Return a JSON value of the type."""
    match type_:
        case SimpleType(name):
            return _SAMPLES[name]
        case DecimalType():
            return "0"
        case ListType(element) | SetType(element):
            return [sample(element)]
        case MapType(key, value):
            return {key_text(sample(key)): sample(value)}
        case OptionalType(wrapped):
            return sample(wrapped)
        case StructType(fields):
            return {field.name: sample(field.type) for field in fields}


def key_text(value: Any) -> str:
    """Return a value of a simple type as a name in a JSON object."""
    return value if isinstance(value, str) else str(value).lower()
