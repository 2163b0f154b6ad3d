"""The long forms of `inputs`, `returns` and a struct's fields."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from cm_exec.config.schema.keys import TYPE_WORDS, Flag, Text, key_doc, key_hint

_Description = Annotated[
    Text, key_doc("Description", "Shown to callers.", "The address of the picture.", default_text="none")
]
_RANGE: Final = "Numbers, dates and timestamps have a range; it is published and checked."


class ReturnsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of `returns`."""

    type: Annotated[
        Any,
        key_hint(TYPE_WORDS),
        key_doc("Type", "The type of the result.", "list<string>"),
        Meta(extra_json_schema={"anyOf": [{"const": "void"}, {"$ref": "#/$defs/Type"}]}),
    ]
    description: _Description | UnsetType = UNSET


class FieldTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of a struct's field."""

    type: Annotated[
        Any,
        key_hint(TYPE_WORDS),
        key_doc("Type", "The type of its values.", "optional<integer>"),
        Meta(extra_json_schema={"$ref": "#/$defs/Type"}),
    ]
    description: _Description | UnsetType = UNSET
    required: (
        Annotated[
            Flag,
            key_doc(
                "Required",
                "false: it may be left out.",
                False,
                default_text="true, but false for an optional<...>",
            ),
        ]
        | UnsetType
    ) = UNSET


class InputTable(FieldTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of an input."""

    min: Annotated[
        Any,
        key_hint("the lowest value"),
        key_doc("Lowest value", _RANGE, 1, default_text="none"),
        Meta(extra_json_schema={"type": ["number", "string"]}),
    ] = UNSET
    max: Annotated[
        Any,
        key_hint("the highest value"),
        key_doc("Highest value", _RANGE, 100, default_text="none"),
        Meta(extra_json_schema={"type": ["number", "string"]}),
    ] = UNSET
