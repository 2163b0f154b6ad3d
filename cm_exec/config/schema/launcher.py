"""`[launcher]`."""

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from cm_exec.config.model import LogFormat, LogLevel
from cm_exec.config.schema.keys import MAX_SECONDS, Flag, Seconds, ServerName, Slots, key_doc, key_hint


class LauncherTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[launcher]` table."""

    concurrency: (
        Annotated[
            Slots,
            key_doc(
                "Slots",
                "Jobs that run concurrently.",
                4,
                default_text="MAX_CONCURRENT_TASKS, which the platform sets, else 1",
            ),
        ]
        | UnsetType
    ) = UNSET
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
    tls_server_name: (
        Annotated[
            ServerName,
            key_doc(
                "TLS server name",
                "Host name expected in the runtime's certificate, if it differs from the URI's host.",
                "localhost",
                default_text="the host in the URI",
            ),
        ]
        | UnsetType
    ) = UNSET
