"""Types as text in the little language."""

import json
import re
from typing import Final

from cm_exec.protocol.types.data_type import (
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
    required_unless_said,
)

BUILTIN_NAMES: Final = (*SIMPLE_NAMES, "decimal", "list", "set", "map", "optional", "struct")
NAME: Final = re.compile(r"[^\W\d]\w*")


def is_name(text: str) -> bool:
    """Whether a type of one's own may be called so: letters, digits and underscores, and no name of a built-in."""
    return NAME.fullmatch(text) is not None and text not in {*BUILTIN_NAMES, "void"}


def type_text(type_: DataType) -> str:  # noqa: PLR0911 - one return a kind of type
    """The type in the little language; parsing it gives the same type again."""
    match type_:
        case SimpleType(name):
            return name
        case DecimalType():
            return _decimal_text(type_)
        case ListType(element):
            return f"list<{type_text(element)}>"
        case SetType(element):
            return f"set<{type_text(element)}>"
        case MapType(key, value):
            return f"map<{type_text(key)}, {type_text(value)}>"
        case OptionalType(wrapped):
            return f"optional<{type_text(wrapped)}>"
        case StructType(fields):
            return f"struct<{', '.join(map(_field_text, fields))}>"


def _decimal_text(type_: DecimalType) -> str:
    if type_.scale is not None:
        return f"decimal({'*' if type_.precision is None else type_.precision}, {type_.scale})"
    return "decimal" if type_.precision is None else f"decimal({type_.precision})"


def _field_text(field: Field) -> str:
    name = field.name if NAME.fullmatch(field.name) else json.dumps(field.name, ensure_ascii=False)
    mark = "" if field.required is required_unless_said(field.type) else "!" if field.required else "?"
    description = "" if field.description is None else f" {json.dumps(field.description, ensure_ascii=False)}"
    return f"{name}{mark}: {type_text(field.type)}{description}"
