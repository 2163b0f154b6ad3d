"""The environment of a handler: the launcher's own without the connection with the runtime, plus the job."""

import os
from collections.abc import Mapping
from pathlib import Path

from cm_exec.config.model import Function, Service
from cm_exec.protocol import environment as names
from cm_exec.protocol.job import Job


def read_environment() -> dict[bytes, bytes]:
    """Return the environment that the launcher was started with.

    It is read from the kernel where possible: CPython adds LC_CTYPE to its own environment when no locale is set, and
    a handler must not inherit that.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def command_environment(options: Function | Service, launcher: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables that all processes of a function or a service get."""
    hidden = {os.fsencode(name) for name in names.CONNECTION_VARIABLES | names.JOB_VARIABLES}
    inherited = {name: value for name, value in launcher.items() if name not in hidden}
    if options.inherit_env is not None:
        wanted = {os.fsencode(name) for name in options.inherit_env}
        inherited = {name: value for name, value in inherited.items() if name in wanted}
    own = {os.fsencode(name): os.fsencode(value) for name, value in options.env.items()}
    return inherited | own


def service_environment(service: Service, launcher: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the variables of a service. Python is unbuffered: a result in a buffer is a result that never comes."""
    return {b"PYTHONUNBUFFERED": b"1", **command_environment(service, launcher)}


def job_environment(job: Job, *, credentials: bool) -> dict[bytes, bytes]:
    """Return the variables that describe the job; `credentials` adds the caller's tokens."""
    values = {names.CM_JOB_ID: job.job_id, names.CM_QUERY_TYPE: job.query_type, names.CM_USER_ID: job.user_id}
    if credentials:
        values[names.CM_AUTH_HEADER] = job.auth_header
        values[names.CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN] = job.temporary_credentials_auth_token
    return {name.encode(): _value(value) for name, value in values.items() if value is not None}


def _value(text: str) -> bytes:
    """Encode a value for an environment, which cannot hold NUL."""
    return text.replace("\0", "").encode(errors="replace")
