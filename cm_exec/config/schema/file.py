"""A whole cm.toml."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from cm_exec.config.schema.functions import FunctionEntry, FunctionOptions, ServiceTable
from cm_exec.config.schema.keys import FunctionName, key_hint
from cm_exec.config.schema.launcher import LauncherTable
from cm_exec.config.schema.test_cases import FunctionTestTable
from cm_exec.datatypes.syntax import BUILTIN_NAMES


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole cm.toml."""

    functions: Annotated[
        Mapping[FunctionName, FunctionEntry],
        Meta(min_length=1, title="Functions", description="A function's name, and its command or table."),
    ]
    services: Annotated[
        Mapping[FunctionName, ServiceTable],
        key_hint("a table of services"),
        Meta(title="Services", description="Programs that stay up and serve functions, by name."),
    ] = field(default_factory=dict)
    defaults: Annotated[FunctionOptions, Meta(description="Options for all functions.")] = FunctionOptions()
    launcher: Annotated[LauncherTable, Meta(description="Options of the worker itself.")] = LauncherTable()
    types: Annotated[
        Mapping[str, Any],
        key_hint("a table of types"),
        Meta(
            title="Types",
            description="Named types, for inputs, returns and each other.",
            extra_json_schema={
                "propertyNames": {"pattern": r"^[^\W\d]\w*$", "not": {"enum": [*BUILTIN_NAMES, "void"]}},
                "additionalProperties": {"$ref": "#/$defs/Type"},
            },
        ),
    ] = field(default_factory=dict)
    tests: Annotated[
        tuple[FunctionTestTable, ...],
        key_hint("an array of tables, each under [[tests]]"),
        Meta(title="Tests", description="Queries to functions and their expected outcomes, for `cm-exec test`."),
    ] = ()
