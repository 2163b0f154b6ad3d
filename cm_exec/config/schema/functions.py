"""`[functions.NAME]`."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from cm_exec.config.schema.keys import TYPE_WORDS, Command, MemberName, ShellCommand, Text, about, expect
from cm_exec.config.schema.options import FunctionOptions


class FunctionTable(FunctionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[functions.NAME]` table."""

    command: Command
    description: (
        Annotated[
            Text,
            about(
                "Description",
                "Published as that of the result, where `returns` has none of its own.",
                example="A smaller picture.",
                unless_said="none",
            ),
        ]
        | UnsetType
    ) = UNSET
    inputs: (
        Annotated[
            Mapping[MemberName, Any],
            expect('a table of types, such as { url = "string", width = "optional<integer>" }'),
            Meta(
                title="Inputs",
                description="The members of a query and their types; published, and with check_queries checked.",
                examples=[{"url": "string", "width": "optional<integer>"}],
                extra={"unless_said": "none are published"},
                extra_json_schema={"additionalProperties": {"$ref": "#/$defs/Input"}},
            ),
        ]
        | UnsetType
    ) = UNSET
    returns: Annotated[
        Any,
        expect(TYPE_WORDS),
        Meta(
            title="Returns",
            description="The type of the result, or void; published, and with check_results checked.",
            examples=["list<string>"],
            extra={"unless_said": "a string is published"},
            extra_json_schema={"$ref": "#/$defs/Returns"},
        ),
    ] = UNSET


FunctionEntry = Annotated[
    ShellCommand | FunctionTable, expect("a command for /bin/sh, or a table with a command", private=True)
]
