"""Data types as the protocol's JSON (`DataType` in lib-api.yml of the official Java SDK), and back."""

from collections.abc import Mapping
from typing import Any

from cm_exec.datatypes.model import (
    MAX_DEPTH,
    SIMPLE_NAMES,
    DataType,
    DecimalType,
    Field,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleType,
    StructType,
    required_by_default,
)


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
