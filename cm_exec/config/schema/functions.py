"""`[functions.NAME]`, `[services.NAME]` and `[defaults]`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cm_exec.config import Mode, Output, Protocol, ResultFd, Streaming
from cm_exec.config.schema.keys import (
    MAX_SECONDS,
    TYPE_WORDS,
    Argument,
    Command,
    Count,
    Flag,
    Folder,
    FunctionName,
    HttpRequest,
    InheritedName,
    MemberName,
    Readiness,
    ServerUrl,
    ShellCommand,
    Size,
    Slots,
    Text,
    TimeLimit,
    VariableName,
    VariableValue,
    key_doc,
    key_hint,
)

_COMMAND: Final = key_doc(
    "Command",
    "A string is run by `/bin/sh -c`; an array of strings is executed directly, without a shell. A program with a `/` "
    "in its name is searched from `cwd`, any other on `PATH`.",
    "jq '. * 2'",
    ["python3", "main.py"],
    default_text="required without `service`; a server that something else starts has none",
)
_URL: Final = key_doc(
    "URL of the server",
    "Where the HTTP server listens: a loopback address or a Unix socket, never another host.",
    "http://127.0.0.1:8000",
    "unix:/tmp/api.sock",
    default_text='required with `protocol = "http"`',
)


class ServiceOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of processes, in all three tables: of one job in mode spawn and prespawn, of a service otherwise."""

    env: Annotated[
        Mapping[VariableName, VariableValue],
        key_hint('a table of strings, such as { MODEL = "/models/a" }', private=True),
        key_doc(
            "Environment",
            "Variables added to the inherited environment; those of [defaults] are added too, name by name.",
            {"MODEL": "/models/a"},
        ),
    ] = field(default_factory=dict)
    cwd: Annotated[
        Folder,
        key_doc(
            "Working folder", "Where the command runs: absolute, or relative to the folder of cm.toml.", "handlers"
        ),
    ] = "."
    inherit_env: Annotated[
        tuple[InheritedName, ...] | UnsetType,
        key_hint('an array of variables\' names, such as ["PATH", "LANG"]'),
        key_doc(
            "Inherited variables",
            "Only these of the launcher's variables reach the process; with [] none.",
            ["PATH", "LANG"],
            default_text="all of them",
        ),
    ] = UNSET
    credentials: Annotated[
        Flag | UnsetType,
        key_doc(
            "Credentials",
            "true: the caller's tokens in the job reach the process, as CM_AUTH_HEADER and "
            "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN, in the envelope of a service, or as the header `Authorization`.",
            True,
            default_text="false; for a function, that of its service",
        ),
    ] = UNSET
    result_fd: Annotated[
        ResultFd,
        key_hint("1 or 3"),
        key_doc(
            "Result descriptor",
            "3: the result is what is written to descriptor 3, and stdout becomes log output like stderr.",
            3,
        ),
    ] = 1
    idle_timeout: Annotated[
        TimeLimit | UnsetType,
        key_doc(
            "Idle timeout",
            "A process that has waited this many seconds for a job is ended; in mode prespawn it is replaced. 0 is "
            "no limit.",
            600,
            default_text="no limit",
        ),
    ] = UNSET
    protocol: Annotated[
        Protocol,
        key_doc(
            "Protocol",
            "How a service gets queries and gives results. lines: one JSON text per line; content-length: frames with "
            "the Content-Length header of the Language Server Protocol; http: requests to a server.",
            "http",
        ),
    ] = "lines"
    envelope: Annotated[
        Flag | UnsetType,
        key_doc(
            "Envelope",
            "true: each message is an object that names its job, such as {jobId, queryType, userId, query}, and "
            "results come in any order.",
            True,
            default_text="true with `jobs_per_process` above 1 and with several functions, else false",
        ),
    ] = UNSET
    processes: Annotated[
        Slots | UnsetType,
        key_doc(
            "Processes",
            'Maximum number of processes of the service; with `protocol = "http"` there is one.',
            2,
            default_text="as many as jobs need",
        ),
    ] = UNSET
    jobs_per_process: Annotated[
        Slots | UnsetType,
        key_doc(
            "Jobs per process",
            "Jobs that one process of the service has concurrently.",
            16,
            default_text='1; with `protocol = "http"` no limit',
        ),
    ] = UNSET
    ready: Annotated[
        Readiness | UnsetType,
        key_doc(
            "Readiness",
            'When a process can take jobs. "read": it reads its stdin; "message": it has written '
            '{"ready": true}; with `protocol = "http"` a path such as "/health": a request for it is answered '
            "with status 200 to 299.",
            "message",
            default_text='`"read"`; with `protocol = "http"`: the server accepts connections',
        ),
    ] = UNSET
    start_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)],
        key_hint(f"a number of seconds above 0, up to {MAX_SECONDS}"),
        key_doc(
            "Start timeout",
            "Seconds until a process of the service must be ready; otherwise it is ended and started again. The start "
            "does not count towards the `timeout` of a job.",
            600,
        ),
    ] = 300.0
    max_jobs: Annotated[
        Count | UnsetType,
        key_doc(
            "Jobs until replacement",
            "A process of the service is replaced after this many jobs.",
            10_000,
            default_text="no limit",
        ),
    ] = UNSET


class ServiceTable(ServiceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[services.NAME]` table."""

    command: Annotated[Command | UnsetType, _COMMAND] = UNSET
    url: Annotated[ServerUrl | UnsetType, _URL] = UNSET


class FunctionOptions(ServiceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options that `[defaults]` sets for all functions and `[functions.NAME]` for one."""

    timeout: Annotated[
        TimeLimit,
        key_doc(
            "Timeout",
            "Seconds that a job may take, with fractions; 0 is no limit. A TypeScript function waits at most 300 "
            "seconds for a compute module.",
            30,
        ),
    ] = 300.0
    max_output: Annotated[
        Size,
        key_doc("Output limit", "Maximum size of a result, in bytes or as a string with B, KiB, MiB or GiB.", "256MiB"),
    ] = "64MiB"
    output: Annotated[
        Output | UnsetType,
        key_doc(
            "Output",
            "bytes: the output is posted unchanged; json: it must be valid JSON and is posted unchanged; text: it "
            "must be UTF-8 and is posted as a JSON string, without one final newline.",
            "json",
            default_text='`"bytes"`; `"json"` for a service with `protocol = "lines"`',
        ),
    ] = UNSET
    max_concurrency: Annotated[
        Slots | UnsetType,
        key_doc(
            "Concurrency limit",
            "Jobs of this function that run concurrently; further ones wait without holding a slot.",
            2,
            default_text="no limit but the number of slots",
        ),
    ] = UNSET
    mode: Annotated[
        Mode,
        key_doc(
            "Mode",
            "spawn: one process per job; prespawn: the same, with the next process started ahead and waiting on stdin; "
            "persistent: processes that stay up, as a service that only this function uses.",
            "persistent",
        ),
    ] = "spawn"
    stream: Annotated[
        Streaming,
        key_hint('true, false or "sse"'),
        key_doc(
            "Streaming",
            'true: the result is posted in chunks, as it is produced; "sse": the data of each server-sent event of an '
            "HTTP service is posted as one chunk.",
            True,
        ),
    ] = False
    job_dir: Annotated[
        Flag,
        key_doc(
            "Job folder",
            "true: each job gets an empty folder, named by CM_JOB_DIR, which is removed after the job.",
            True,
        ),
    ] = False
    error_output: Annotated[
        Flag,
        key_doc(
            "Output of a failed command",
            "true: what a command that fails has written to stdout becomes `output` in the error result, as JSON if it "
            "is JSON, up to 64 KiB.",
            True,
        ),
    ] = False
    check_queries: Annotated[
        Flag,
        key_doc(
            "Check queries",
            "true: a query that does not match `inputs` is answered with an error, and no handler gets it.",
            True,
        ),
    ] = False
    check_results: Annotated[
        Flag,
        key_doc("Check results", "true: a result that does not match `returns` is replaced by an error.", True),
    ] = False


class FunctionTable(FunctionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[functions.NAME]` table."""

    command: Annotated[Command | UnsetType, _COMMAND] = UNSET
    service: Annotated[
        FunctionName | UnsetType,
        key_doc(
            "Service",
            "The name of the `[services.NAME]` whose processes serve the function.",
            "model",
            default_text="none; required without `command`",
        ),
    ] = UNSET
    description: Annotated[
        Text | UnsetType,
        key_doc(
            "Description",
            "Published as the description of the result if `returns` has none of its own.",
            "A smaller picture.",
            default_text="none",
        ),
    ] = UNSET
    inputs: Annotated[
        Mapping[MemberName, Any] | UnsetType,
        key_hint('a table of types, such as { url = "string", width = "optional<integer>" }'),
        key_doc(
            "Inputs",
            "The members of a query and their types; published, and checked with check_queries.",
            {"url": "string", "width": "optional<integer>"},
            default_text="none are published",
        ),
        Meta(extra_json_schema={"additionalProperties": {"$ref": "#/$defs/Input"}}),
    ] = UNSET
    returns: Annotated[
        Any,
        key_hint(TYPE_WORDS),
        key_doc(
            "Returns",
            "The type of the result, or void; published, and checked with check_results.",
            "list<string>",
            default_text="a string is published",
        ),
        Meta(extra_json_schema={"$ref": "#/$defs/Returns"}),
    ] = UNSET
    edits: Annotated[
        tuple[MemberName, ...],
        key_hint('an array of object type IDs, such as ["flight"]'),
        key_doc(
            "Edited object types",
            "IDs of the object types that the function edits; published as its ontology provenance.",
            ["flight"],
        ),
    ] = ()
    url: Annotated[ServerUrl | UnsetType, _URL] = UNSET
    request: Annotated[
        HttpRequest | UnsetType,
        key_doc(
            "HTTP request",
            "The method and path for a job of an HTTP service. {name} in the path is replaced by that input. With "
            "POST, PUT and PATCH the body is the query.",
            "POST /classify",
            "GET /items/{id}",
            default_text="`POST /` and the name of the function",
        ),
    ] = UNSET
    query: Annotated[
        tuple[MemberName, ...],
        key_hint('an array of inputs\' names, such as ["q", "limit"]'),
        key_doc("Query parameters", "Inputs that become query parameters of the HTTP request.", ["q", "limit"]),
    ] = ()
    body: Annotated[
        MemberName | UnsetType,
        key_doc(
            "Body",
            "The input that is the whole body of the HTTP request, for a server that expects no object.",
            "numbers",
            default_text="the query itself",
        ),
    ] = UNSET


FunctionEntry = Annotated[
    ShellCommand | Annotated[tuple[Argument, ...], Meta(min_length=1)] | FunctionTable,
    key_hint("a command for /bin/sh, an array of arguments, or a table with a command or a service", private=True),
]
