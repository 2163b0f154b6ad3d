"""Sample values of a type, for examples and templates."""

from typing import Any, Final

from cm_exec.datatypes.model import (
    DataType,
    DecimalType,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleName,
    SimpleType,
    StructType,
)

_SIMPLE: Final[dict[SimpleName, Any]] = {
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
            return _SIMPLE[name]
        case DecimalType():
            return "0"
        case ListType(element) | SetType(element):
            return [sample(element)]
        case MapType(key, value):
            return {_key(sample(key)): sample(value)}
        case OptionalType(wrapped):
            return sample(wrapped)
        case StructType(fields):
            return {field.name: sample(field.type) for field in fields}


def _key(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()
