"""The shape of a cm.toml: one struct a table, and each key's type says what it takes.

The checks of `validate`, the defaults and the JSON Schema of cm.toml all come from these types. `title` and
`description` and `examples` go into the schema and the reference of the documentation; `extra["expected"]` is how an
error names what belongs there, `extra["unless_said"]` what holds where a key without a default is left out.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cm_exec.config.function_test import FailureReason
from cm_exec.config.types import Framing, LogFormat, LogLevel, Mode, Output, ResultFd
from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES
from cm_exec.protocol.types.text import BUILTIN_NAMES

MAX_SECONDS: Final = 604_800
"""A week. A replica lives 22 hours at most, and epoll takes no wait above 24 days."""

MAX_SLOTS: Final = 10_000
"""A slot is a thread: a number above this is a slip of the keyboard."""

_NO_NUL: Final = r"(?![\s\S]*\x00)"
_END: Final = r"$(?!\n)"  # Python's `$` alone would let a final newline pass


def _expect(what: str, *, pattern: str | None = None, private: bool = False) -> Meta:
    """What an error says is expected. A private value may hold a secret, so that no error shows it."""
    return Meta(pattern=pattern, extra={"expected": what, "private": private})


FunctionName = Annotated[
    str, _expect("a function's name: not empty, no control characters", pattern=r"^[^\x00-\x1f\x7f]+" + _END)
]
ShellCommand = Annotated[
    str, _expect("a command for /bin/sh: not empty, no NUL", pattern=rf"^{_NO_NUL}\s*\S", private=True)
]
Argument = Annotated[str, _expect("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Command = Annotated[
    ShellCommand | Annotated[tuple[Argument, ...], Meta(min_length=1)],
    _expect('a command: a string for /bin/sh, or an array such as ["python3", "main.py"]', private=True),
    Meta(
        title="Command",
        description="A string is run by `/bin/sh -c`; an array of strings is executed as it stands, without a shell. A "
        "program with a `/` in its name is looked for from `cwd`, another one on `PATH`.",
        examples=["jq '. * 2'", ["python3", "main.py"]],
    ),
]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
Slots = Annotated[int, Meta(ge=1, le=MAX_SLOTS), _expect(f"an integer from 1 to {MAX_SLOTS}")]
Size = Annotated[
    Annotated[int, Meta(ge=1)]
    | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,17} ?(B|KiB|MiB|GiB)" + _END, examples=["64MiB", "1GiB"])],
    _expect('an integer of bytes, 1 or more, or a string such as "64MiB" (B, KiB, MiB or GiB)'),
]
_FREE: Final = Meta(extra_json_schema={"not": {"enum": sorted({*CONNECTION_VARIABLES, *JOB_VARIABLES})}})
VariableName = Annotated[
    str, _expect("a variable's name: not empty, no = and no NUL", pattern=r"^[^=\x00]+" + _END), _FREE
]
InheritedName = Annotated[
    str, _expect("a variable's whole name: not empty, no =, no wildcard", pattern=r"^[^=*?\s\x00]+" + _END), _FREE
]
VariableValue = Annotated[str, _expect("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Folder = Annotated[str, _expect("a folder's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
ServerName = Annotated[
    str, _expect('a host name or IP address, such as "localhost"', pattern=r"^[A-Za-z0-9_.:-]+" + _END)
]
Flag = Annotated[bool, _expect("true or false")]
Text = Annotated[str, _expect("a text in quotes: not empty, no NUL", pattern=rf"^{_NO_NUL}\s*\S")]
MemberName = Annotated[str, _expect("a name: not empty, no control characters", pattern=r"^[^\x00-\x1f\x7f]+" + _END)]
FilePath = Annotated[str, _expect("a file's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
JSON_WORDS: Final = "a value that JSON has"
TYPE_WORDS: Final = 'a type, such as "string" or "list<integer>", or a table of a struct\'s fields'


class FunctionOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[defaults]` sets for all functions, and a `[functions.NAME]` table for its own."""

    timeout: Annotated[
        Seconds,
        _expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
        Meta(
            title="Timeout",
            description="Seconds that a job may take, fractions too; 0 is no limit. A TypeScript function waits 300 "
            "seconds at most for a compute module.",
            examples=[30],
        ),
    ] = 300.0
    max_output: Annotated[
        Size,
        Meta(
            title="Output limit",
            description="The longest result, in bytes or as a string with B, KiB, MiB or GiB.",
            examples=["256MiB"],
        ),
    ] = "64MiB"
    output: Annotated[
        Output,
        Meta(
            title="Output",
            description="bytes: stdout as it is; json: stdout must be valid JSON, and is posted as it is; text: stdout "
            "must be UTF-8, and is posted as a JSON string.",
            examples=["json"],
        ),
    ] = "bytes"
    env: Annotated[
        Mapping[VariableName, VariableValue],
        _expect('a table of strings, such as { MODEL = "/models/a" }', private=True),
        Meta(
            title="Environment",
            description="Variables added to the inherited environment; those of [defaults] are added too, name by "
            "name.",
            examples=[{"MODEL": "/models/a"}],
        ),
    ] = field(default_factory=dict)
    cwd: Annotated[
        Folder,
        Meta(
            title="Working folder",
            description="Where the command runs: absolute, or relative to the folder of cm.toml.",
            examples=["handlers"],
        ),
    ] = "."
    inherit_env: (
        Annotated[
            tuple[InheritedName, ...],
            _expect('an array of variables\' names, such as ["PATH", "LANG"]'),
            Meta(
                title="Inherited variables",
                description="Only these of the launcher's variables reach the handler, and with [] none; all of them "
                "unless said.",
                examples=[["PATH", "LANG"]],
                extra={"unless_said": "all of them"},
            ),
        ]
        | UnsetType
    ) = UNSET
    max_concurrency: (
        Annotated[
            Slots,
            Meta(
                title="Share of the slots",
                description="Jobs of this function that run at once at most; those above it wait without holding a "
                "slot. All slots unless said.",
                examples=[2],
                extra={"unless_said": "all slots"},
            ),
        ]
        | UnsetType
    ) = UNSET
    credentials: Annotated[
        Flag,
        Meta(
            title="Credentials",
            description="true: the caller's tokens in the job reach the handler, as CM_AUTH_HEADER and "
            "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN, or in the envelope of a persistent process.",
            examples=[True],
        ),
    ] = False
    mode: Annotated[
        Mode,
        Meta(
            title="Mode",
            description="spawn: a process a job; prespawn: the next process is started ahead and waits on stdin; "
            "persistent: a process serves one job after another.",
            examples=["persistent"],
        ),
    ] = "spawn"
    stream: Annotated[
        Flag,
        Meta(title="Streaming", description="true: the result is posted as it comes, in chunks.", examples=[True]),
    ] = False
    result_fd: Annotated[
        ResultFd,
        _expect("1 or 3"),
        Meta(
            title="Result descriptor",
            description="3: the result is what is written to descriptor 3, and stdout is a log as stderr is.",
            examples=[3],
        ),
    ] = 1
    framing: Annotated[
        Framing,
        Meta(
            title="Framing",
            description="How a persistent process gets queries and gives results: lines of JSON, or frames with the "
            "Content-Length header of the Language Server Protocol.",
            examples=["content-length"],
        ),
    ] = "lines"
    envelope: Annotated[
        Flag,
        Meta(
            title="Envelope",
            description="true: a persistent process gets {jobId, queryType, userId, query} and may name the jobId in "
            "its result.",
            examples=[True],
        ),
    ] = False
    processes: (
        Annotated[
            Slots,
            Meta(
                title="Processes",
                description="Processes of a function at most; as many as slots unless said.",
                examples=[2],
                extra={"unless_said": "as many as slots"},
            ),
        ]
        | UnsetType
    ) = UNSET
    max_jobs: (
        Annotated[
            Annotated[int, Meta(ge=1)],
            _expect("an integer, 1 or more"),
            Meta(
                title="Jobs a process",
                description="A persistent process is replaced after this many jobs.",
                examples=[10_000],
                extra={"unless_said": "never replaced for that"},
            ),
        ]
        | UnsetType
    ) = UNSET
    idle_timeout: (
        Annotated[
            Seconds,
            _expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
            Meta(
                title="Idle timeout",
                description="A process that has waited for a job this long, in seconds, is ended, and in mode prespawn "
                "replaced; 0 is no limit.",
                examples=[600],
                extra={"unless_said": "no limit"},
            ),
        ]
        | UnsetType
    ) = UNSET

    check_queries: Annotated[
        Flag,
        Meta(
            title="Check queries",
            description="true: a query that does not fit `inputs` is answered with an error, and no handler sees it.",
            examples=[True],
        ),
    ] = False
    check_results: Annotated[
        Flag,
        Meta(
            title="Check results",
            description="true: a result that does not fit `returns` is replaced by an error.",
            examples=[True],
        ),
    ] = False


class ReturnsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of `returns`."""

    type: Annotated[
        Any,
        _expect(TYPE_WORDS),
        Meta(
            title="Type",
            description="What the result is.",
            examples=["list<string>"],
            extra_json_schema={"anyOf": [{"const": "void"}, {"$ref": "#/$defs/Type"}]},
        ),
    ]
    description: (
        Annotated[
            Text,
            Meta(
                title="Description",
                description="Told to those who call it.",
                examples=["The address of the picture."],
                extra={"unless_said": "none"},
            ),
        ]
        | UnsetType
    ) = UNSET


class FieldTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of a struct's field."""

    type: Annotated[
        Any,
        _expect(TYPE_WORDS),
        Meta(
            title="Type",
            description="What its values are.",
            examples=["optional<integer>"],
            extra_json_schema={"$ref": "#/$defs/Type"},
        ),
    ]
    description: (
        Annotated[
            Text,
            Meta(
                title="Description",
                description="Told to those who call it.",
                examples=["The address of the picture."],
                extra={"unless_said": "none"},
            ),
        ]
        | UnsetType
    ) = UNSET
    required: (
        Annotated[
            Flag,
            Meta(
                title="Required",
                description="false: it may be left out. true unless said, but false for an optional<...>.",
                examples=[False],
                extra={"unless_said": "true, but false for an optional<...>"},
            ),
        ]
        | UnsetType
    ) = UNSET


class InputTable(FieldTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long form of an input."""

    min: Annotated[
        Any,
        _expect("the lowest value"),
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
        _expect("the highest value"),
        Meta(
            title="Highest value",
            description="Numbers, dates and timestamps have a range; it is published and checked.",
            examples=[100],
            extra={"unless_said": "none"},
            extra_json_schema={"type": ["number", "string"]},
        ),
    ] = UNSET


class FunctionTable(FunctionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[functions.NAME]` table."""

    command: Command
    description: (
        Annotated[
            Text,
            Meta(
                title="Description",
                description="Published as that of the result, where `returns` has none of its own.",
                examples=["A smaller picture."],
                extra={"unless_said": "none"},
            ),
        ]
        | UnsetType
    ) = UNSET
    inputs: (
        Annotated[
            Mapping[MemberName, Any],
            _expect('a table of types, such as { url = "string", width = "optional<integer>" }'),
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
        _expect(TYPE_WORDS),
        Meta(
            title="Returns",
            description="The type of the result, or void; published, and with check_results checked.",
            examples=["list<string>"],
            extra={"unless_said": "a string is published"},
            extra_json_schema={"$ref": "#/$defs/Returns"},
        ),
    ] = UNSET


FunctionEntry = Annotated[
    ShellCommand | FunctionTable, _expect("a command for /bin/sh, or a table with a command", private=True)
]


class LauncherTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[launcher]` table."""

    concurrency: (
        Annotated[
            Slots,
            Meta(
                title="Slots",
                description="Jobs that run at once; MAX_CONCURRENT_TASKS unless said, which the platform sets, else 1.",
                examples=[4],
                extra={"unless_said": "MAX_CONCURRENT_TASKS, else 1"},
            ),
        ]
        | UnsetType
    ) = UNSET
    drain_timeout: Annotated[
        Seconds,
        _expect(f"a number of seconds from 0 to {MAX_SECONDS}"),
        Meta(
            title="Drain timeout",
            description="Seconds that running jobs have to finish after SIGTERM.",
            examples=[25],
        ),
    ] = 25.0
    log_format: Annotated[
        LogFormat,
        Meta(
            title="Log format",
            description="text: for people; sls: the structured lines of Foundry.",
            examples=["sls"],
        ),
    ] = "text"
    log_level: Annotated[
        LogLevel, Meta(title="Log level", description="The least level that is logged.", examples=["debug"])
    ] = "info"
    tls_server_name: (
        Annotated[
            ServerName,
            Meta(
                title="TLS server name",
                description="The name to check in the runtime's certificate, where it is not the URI's host.",
                examples=["localhost"],
                extra={"unless_said": "the host in the URI"},
            ),
        ]
        | UnsetType
    ) = UNSET


def _about(title: str, description: str, *, example: object, unless_said: str) -> Meta:
    return Meta(title=title, description=description, examples=[example], extra={"unless_said": unless_said})


_OTHER_QUERY: Final = "another key has the query"
_OTHER_EXPECTATION: Final = "another key says what is expected"


class FunctionTestTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[tests]]` table: a function, one query, and one thing that is expected of what becomes of it."""

    function: Annotated[
        str,
        _expect("the name of a function"),
        Meta(title="Function", description="The function that is tested.", examples=["double"]),
    ]
    name: (
        Annotated[
            MemberName,
            _about(
                "Name",
                "What is tested, in a few words; no other test of the function has the same.",
                example="doubles a number",
                unless_said="the function and the number of its test",
            ),
        ]
        | UnsetType
    ) = UNSET
    query: Annotated[
        Any,
        _expect(JSON_WORDS),
        _about(
            "Query",
            "The query, as a value of TOML that is sent as JSON. TOML has no null: see query_json.",
            example={"from": "EUR", "amounts": [10, 99.9]},
            unless_said=_OTHER_QUERY,
        ),
    ] = UNSET
    query_json: (
        Annotated[
            Text,
            _about(
                "Query as JSON",
                "The query, as JSON text that is sent byte for byte.",
                example='{"at": null}',
                unless_said=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    query_file: (
        Annotated[
            FilePath,
            _about(
                "Query in a file",
                "A file with the query, which is sent byte for byte. Absolute, or relative to the folder of cm.toml.",
                example="query.json",
                unless_said=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    result: Annotated[
        Any,
        _expect(JSON_WORDS),
        _about(
            "Result",
            "The result, as a value of TOML that is compared as JSON: the order of members is free, 42 and 42.0 are "
            "the same number.",
            example=42,
            unless_said=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_json: (
        Annotated[
            Text,
            _about(
                "Result as JSON",
                "The result, as JSON text that is compared as JSON.",
                example='{"at": null}',
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_subset: Annotated[
        Any,
        _expect(JSON_WORDS),
        _about(
            "Part of the result",
            "As result, but an object may have more members than are said here. An array has as many items as here, "
            "and may have such objects in it.",
            example={"total": 3},
            unless_said=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_text: (
        Annotated[
            str,
            _expect("a text in quotes"),
            _about("Result as text", "The result, byte for byte.", example="HELLO\n", unless_said=_OTHER_EXPECTATION),
        ]
        | UnsetType
    ) = UNSET
    result_file: (
        Annotated[
            FilePath,
            _about(
                "Result in a file",
                "A file with the result: compared as JSON if its name ends in .json, else byte for byte. Absolute, or "
                "relative to the folder of cm.toml.",
                example="result.json",
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_matches: (
        Annotated[
            str,
            _expect("a regular expression in quotes"),
            _about(
                "Pattern of the result",
                "A regular expression, as Python has them, that is found somewhere in the result; in its bytes where "
                "it is no UTF-8.",
                example="^[0-9]+$",
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    error: (
        Annotated[
            FailureReason,
            _about(
                "Error",
                "The job fails, and this is the reason in its error result.",
                example="exit",
                unless_said="any reason with error_contains, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    error_contains: (
        Annotated[
            Text,
            _about(
                "Text of the error",
                "The job fails, and this stands in the sentence of its error result or in what its command wrote to "
                "stderr.",
                example="no such customer",
                unless_said="any text with error, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    tolerance: (
        Annotated[
            Annotated[float, Meta(ge=0)],
            _expect("a number, 0 or more"),
            _about(
                "Tolerance",
                "How far a number in the result may be from the expected one, where it is compared as JSON.",
                example=0.001,
                unless_said="0",
            ),
        ]
        | UnsetType
    ) = UNSET
    timeout: (
        Annotated[
            Seconds,
            _expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
            _about(
                "Timeout",
                "Seconds that the job may take, in place of the function's timeout; 0 is no limit.",
                example=5,
                unless_said="that of the function",
            ),
        ]
        | UnsetType
    ) = UNSET


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole cm.toml."""

    functions: Annotated[
        Mapping[FunctionName, FunctionEntry],
        Meta(min_length=1, title="Functions", description="A function's name, and its command or table."),
    ]
    defaults: Annotated[FunctionOptions, Meta(description="Options for all functions.")] = FunctionOptions()
    launcher: Annotated[LauncherTable, Meta(description="The worker itself.")] = LauncherTable()
    types: Annotated[
        Mapping[str, Any],
        _expect("a table of types"),
        Meta(
            title="Types",
            description="Types of one's own by name, for inputs, returns and each other.",
            extra_json_schema={
                "propertyNames": {"pattern": r"^[^\W\d]\w*$", "not": {"enum": [*BUILTIN_NAMES, "void"]}},
                "additionalProperties": {"$ref": "#/$defs/Type"},
            },
        ),
    ] = field(default_factory=dict)
    tests: Annotated[
        tuple[FunctionTestTable, ...],
        _expect("an array of tables, each under [[tests]]"),
        Meta(title="Tests", description="Queries to functions and what becomes of them, for `cm-exec test`."),
    ] = ()
