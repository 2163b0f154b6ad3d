"""The long forms of `inputs`, `returns` and a struct's fields."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from cm_exec.config.schema.keys import TYPE_WORDS, Flag, Text, about, expect

_Description = Annotated[
    Text,
    about("Description", "Told to those who call it.", example="The address of the picture.", unless_said="none"),
]


class ReturnsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of `returns`."""

    type: Annotated[
        Any,
        expect(TYPE_WORDS),
        Meta(
            title="Type",
            description="What the result is.",
            examples=["list<string>"],
            extra_json_schema={"anyOf": [{"const": "void"}, {"$ref": "#/$defs/Type"}]},
        ),
    ]
    description: _Description | UnsetType = UNSET


class FieldTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of a struct's field."""

    type: Annotated[
        Any,
        expect(TYPE_WORDS),
        Meta(
            title="Type",
            description="What its values are.",
            examples=["optional<integer>"],
            extra_json_schema={"$ref": "#/$defs/Type"},
        ),
    ]
    description: _Description | UnsetType = UNSET
    required: (
        Annotated[
            Flag,
            about(
                "Required",
                "false: it may be left out. true unless said, but false for an optional<...>.",
                example=False,
                unless_said="true, but false for an optional<...>",
            ),
        ]
        | UnsetType
    ) = UNSET


class InputTable(FieldTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of an input."""

    min: Annotated[
        Any,
        expect("the lowest value"),
        Meta(
            title="Lowest value",
            description="Numbers, dates and timestamps have a range; it is published and checked.",
            examples=[1],
            extra={"unless_said": "none"},
            extra_json_schema={"type": ["number", "string"]},
        ),
    ] = UNSET
    max: Annotated[
        Any,
        expect("the highest value"),
        Meta(
            title="Highest value",
            description="Numbers, dates and timestamps have a range; it is published and checked.",
            examples=[100],
            extra={"unless_said": "none"},
            extra_json_schema={"type": ["number", "string"]},
        ),
    ] = UNSET
