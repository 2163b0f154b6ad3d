"""The environment of a handler: the launcher's own, less the connection with the runtime, plus the job."""

import os
from collections.abc import Mapping
from pathlib import Path

from cm_exec.config.types import Function
from cm_exec.protocol import environment as names
from cm_exec.protocol.job import Job


def launcher_environment() -> dict[bytes, bytes]:
    """The environment that the launcher was started with.

    Read from the kernel where that is possible: CPython adds LC_CTYPE to its own when no locale is set, and a
    handler must not inherit that.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def function_environment(function: Function, launcher: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What is the same for all jobs of `function`."""
    hidden = {os.fsencode(name) for name in names.CONNECTION_VARIABLES | names.JOB_VARIABLES}
    inherited = {name: value for name, value in launcher.items() if name not in hidden}
    if function.inherit_env is not None:
        wanted = {os.fsencode(name) for name in function.inherit_env}
        inherited = {name: value for name, value in inherited.items() if name in wanted}
    own = {os.fsencode(name): os.fsencode(value) for name, value in function.env.items()}
    return inherited | own


def job_environment(job: Job, *, credentials: bool) -> dict[bytes, bytes]:
    """What a process that serves this one job is told of it; `credentials` adds the caller's tokens."""
    values = {names.CM_JOB_ID: job.job_id, names.CM_QUERY_TYPE: job.query_type, names.CM_USER_ID: job.user_id}
    if credentials:
        values[names.CM_AUTH_HEADER] = job.auth_header
        values[names.CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN] = job.temporary_credentials_auth_token
    return {name.encode(): _value(value) for name, value in values.items() if value is not None}


def _value(text: str) -> bytes:
    """The text as it can stand in an environment, which holds no NUL."""
    return text.replace("\0", "").encode(errors="replace")
