"""`[defaults]`: what can be said for all functions."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cm_exec.config.model import Framing, Mode, Output, ResultFd
from cm_exec.config.schema.keys import (
    MAX_SECONDS,
    Flag,
    Folder,
    InheritedName,
    Seconds,
    Size,
    Slots,
    VariableName,
    VariableValue,
    about,
    expect,
)


class FunctionOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[defaults]` sets for all functions, and a `[functions.NAME]` table for its own."""

    timeout: Annotated[
        Seconds,
        expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
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
        expect('a table of strings, such as { MODEL = "/models/a" }', private=True),
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
            expect('an array of variables\' names, such as ["PATH", "LANG"]'),
            about(
                "Inherited variables",
                "Only these of the launcher's variables reach the handler, and with [] none; all of them unless said.",
                example=["PATH", "LANG"],
                unless_said="all of them",
            ),
        ]
        | UnsetType
    ) = UNSET
    max_concurrency: (
        Annotated[
            Slots,
            about(
                "Share of the slots",
                "Jobs of this function that run at once at most; those above it wait without holding a "
                "slot. All slots unless said.",
                example=2,
                unless_said="all slots",
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
        expect("1 or 3"),
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
            about(
                "Processes",
                "Processes of a function at most; as many as slots unless said.",
                example=2,
                unless_said="as many as slots",
            ),
        ]
        | UnsetType
    ) = UNSET
    max_jobs: (
        Annotated[
            Annotated[int, Meta(ge=1)],
            expect("an integer, 1 or more"),
            about(
                "Jobs a process",
                "A persistent process is replaced after this many jobs.",
                example=10_000,
                unless_said="never replaced for that",
            ),
        ]
        | UnsetType
    ) = UNSET
    idle_timeout: (
        Annotated[
            Seconds,
            expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
            about(
                "Idle timeout",
                "A process that has waited for a job this long, in seconds, is ended, and in mode prespawn "
                "replaced; 0 is no limit.",
                example=600,
                unless_said="no limit",
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
