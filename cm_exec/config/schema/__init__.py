"""The shape of a cm.toml as data: one struct per table, and the type of each key declares what it accepts.

Parser, defaults, error messages, the JSON Schema, the reference page and the man page follow from these types.
`key_doc` gives the title, description and examples of a key, `key_hint` the words of an error message for its type.
Here are a whole cm.toml, `[launcher]`, `[[tests]]` and the long forms of `inputs`, `returns` and a struct's fields.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cm_exec.config import FailureReason, LogFormat, LogLevel
from cm_exec.config.schema.functions import FunctionEntry, FunctionOptions, ServiceTable
from cm_exec.config.schema.keys import (
    JSON_WORDS,
    MAX_SECONDS,
    TYPE_WORDS,
    FilePath,
    Flag,
    FunctionName,
    MemberName,
    Seconds,
    ServerName,
    Slots,
    Text,
    TimeLimit,
    key_doc,
    key_hint,
)
from cm_exec.datatypes.syntax import BUILTIN_NAMES

_OTHER_QUERY: Final = "another key has the query"
_OTHER_EXPECTATION: Final = "another key has the expected outcome"


class FunctionTestTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[tests]]` table: a function, one query, and one expected outcome."""

    function: Annotated[
        str, key_hint("the name of a function"), key_doc("Function", "The function that is tested.", "double")
    ]
    name: Annotated[
        MemberName | UnsetType,
        key_doc(
            "Name",
            "What is tested, in a few words; no other test of the function has the same name.",
            "doubles a number",
            default_text="the function and the number of its test",
        ),
    ] = UNSET
    query: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Query",
            "The query as a TOML value, which is sent as JSON. TOML has no null: see query_json.",
            {"from": "EUR", "amounts": [10, 99.9]},
            default_text=_OTHER_QUERY,
        ),
    ] = UNSET
    query_json: Annotated[
        Text | UnsetType,
        key_doc(
            "Query as JSON",
            "The query as JSON text, which is sent byte for byte.",
            '{"at": null}',
            default_text=_OTHER_QUERY,
        ),
    ] = UNSET
    query_file: Annotated[
        FilePath | UnsetType,
        key_doc(
            "Query in a file",
            "A file with the query, which is sent byte for byte. Absolute, or relative to the folder of cm.toml.",
            "query.json",
            default_text=_OTHER_QUERY,
        ),
    ] = UNSET
    user_id: Annotated[
        Text | UnsetType,
        key_doc("User", "The id of the caller, as the job's `userId`.", "alice", default_text="no user"),
    ] = UNSET
    result: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Result",
            "The result as a TOML value, which is compared as JSON: the order of members does not matter, and 42 and "
            "42.0 are equal.",
            42,
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_json: Annotated[
        Text | UnsetType,
        key_doc(
            "Result as JSON",
            "The result as JSON text, which is compared as JSON.",
            '{"at": null}',
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_subset: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Part of the result",
            "Like result, but an object may have further members. An array has exactly these items, in which objects "
            "may have further members.",
            {"total": 3},
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_text: Annotated[
        str | UnsetType,
        key_hint("a text in quotes"),
        key_doc("Result as text", "The result, byte for byte.", "HELLO\n", default_text=_OTHER_EXPECTATION),
    ] = UNSET
    result_file: Annotated[
        FilePath | UnsetType,
        key_doc(
            "Result in a file",
            "A file with the result: compared as JSON if its name ends in .json, else byte for byte. Absolute, or "
            "relative to the folder of cm.toml.",
            "result.json",
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_matches: Annotated[
        str | UnsetType,
        key_hint("a regular expression in quotes"),
        key_doc(
            "Pattern of the result",
            "A Python regular expression that is found somewhere in the result; in its bytes if it is not UTF-8.",
            "^[0-9]+$",
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    error: Annotated[
        FailureReason | UnsetType,
        key_doc(
            "Error",
            "The job fails, with this reason in its error result.",
            "exit",
            default_text="any reason with error_contains, else the job must not fail",
        ),
    ] = UNSET
    error_contains: Annotated[
        Text | UnsetType,
        key_doc(
            "Text of the error",
            "The job fails, and the message of its error result or what its command wrote to stderr contains this "
            "text.",
            "no such customer",
            default_text="any text with error, else the job must not fail",
        ),
    ] = UNSET
    tolerance: Annotated[
        Annotated[float, Meta(ge=0)] | UnsetType,
        key_hint("a number, 0 or more"),
        key_doc(
            "Tolerance",
            "How far a number in the result may be from the expected one, if it is compared as JSON.",
            0.001,
            default_text="0",
        ),
    ] = UNSET
    timeout: Annotated[
        TimeLimit | UnsetType,
        key_doc(
            "Timeout",
            "Seconds that the job may take, instead of the function's timeout; 0 is no limit.",
            5,
            default_text="the timeout of the function",
        ),
    ] = UNSET


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
    required: Annotated[
        Flag | UnsetType,
        key_doc(
            "Required",
            "false: it may be left out.",
            False,
            default_text="true, but false for an optional<...>",
        ),
    ] = UNSET


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


class LauncherTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[launcher]` table."""

    concurrency: Annotated[
        Slots | UnsetType,
        key_doc(
            "Slots",
            "Jobs that run concurrently.",
            4,
            default_text="MAX_CONCURRENT_TASKS, which the platform sets, else 1",
        ),
    ] = UNSET
    drain_timeout: Annotated[
        Seconds,
        key_hint(f"a number of seconds from 0 to {MAX_SECONDS}"),
        key_doc("Drain timeout", "Seconds that running jobs have to finish after SIGTERM.", 25),
    ] = 25.0
    wait_for_services: Annotated[
        Flag,
        key_doc(
            "Wait for services",
            "Ask for the first job only when each service has a process that is ready, or its start_timeout is over.",
            False,
        ),
    ] = True
    log_format: Annotated[
        LogFormat,
        key_doc("Log format", "text: for people; sls: the structured lines of Foundry.", "sls"),
    ] = "text"
    log_level: Annotated[LogLevel, key_doc("Log level", "Minimum level of a message that is logged.", "debug")] = "info"
    tls_server_name: Annotated[
        ServerName | UnsetType,
        key_doc(
            "TLS server name",
            "Host name expected in the runtime's certificate, if it differs from the URI's host.",
            "localhost",
            default_text="the host in the URI",
        ),
    ] = UNSET


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
