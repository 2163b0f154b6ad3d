"""`[launcher]`."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from cm_exec.config.model import LogFormat, LogLevel
from cm_exec.config.schema.keys import MAX_SECONDS, Seconds, ServerName, Slots, about, expect


class LauncherTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[launcher]` table."""

    concurrency: (
        Annotated[
            Slots,
            about(
                "Slots",
                "Jobs that run at once; MAX_CONCURRENT_TASKS unless said, which the platform sets, else 1.",
                example=4,
                unless_said="MAX_CONCURRENT_TASKS, else 1",
            ),
        ]
        | UnsetType
    ) = UNSET
    drain_timeout: Annotated[
        Seconds,
        expect(f"a number of seconds from 0 to {MAX_SECONDS}"),
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
            about(
                "TLS server name",
                "The name to check in the runtime's certificate, where it is not the URI's host.",
                example="localhost",
                unless_said="the host in the URI",
            ),
        ]
        | UnsetType
    ) = UNSET
