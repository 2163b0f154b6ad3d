"""Run jobs through handlers, without a runtime and without the program."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.config.load import parse_config
from cm_exec.handlers import Handler, HandlerContext
from cm_exec.handlers.factory import create_handlers
from cm_exec.processes.termination import Graces
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure
from tests.support import toml


def function_of(folder: Path, command: str | Sequence[str], **options: object) -> Function:
    """Return the function `f` of a cm.toml in `folder`."""
    config = parse_config(toml.function("f", command, **options), path=folder / "cm.toml")
    return config.functions["f"]


def context_of(
    spool_directory: Path | None = None, environment: Mapping[str, str] | None = None, graces: Graces | None = None
) -> HandlerContext:
    """Return the context of the handlers of one test."""
    environ = dict(os.environ if environment is None else environment)
    return HandlerContext(
        environment={os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
        spool_directory=None if spool_directory is None else str(spool_directory),
        graces=graces or Graces(),
    )


def handler_of(function: Function, context: HandlerContext) -> Handler:
    return create_handlers([function], context, 1)[function.name]


def job_of(query: bytes = b"null", **members: str) -> Job:
    return replace(Job(job_id="job-1", query_type="f", query=query), **members)


class CollectedStderr:
    """Collects a job's stderr."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, chunk: bytes) -> None:
        self.text += chunk

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


class JobRun(Struct, frozen=True, kw_only=True):
    """The outcome of one job: `result` or `failure`, and its stderr. Late output is in `sink` only."""

    result: bytes | None
    failure: Failure | None
    sink: CollectedStderr
    stderr: bytes

    @property
    def failed(self) -> Failure:
        assert self.failure is not None, f"a result of {len(self.result or b'')} bytes"
        return self.failure

    @property
    def reason(self) -> str:
        return self.failed.reason.value


async def run(handler: Handler, query: bytes = b"null", *, job: Job | None = None) -> JobRun:
    """Run one job to its end."""
    spool, stderr = handler.new_spool(), CollectedStderr()
    try:
        completion = await handler.run(job or job_of(query), spool, stderr)
        result = spool.getvalue() if completion.failure is None else None
        assert result is None or (spool.size, b"".join(spool.chunks())) == (len(result), result)
        if completion.cleanup is not None:
            await completion.cleanup()
    finally:
        spool.close()
    return JobRun(result=result, failure=completion.failure, sink=stderr, stderr=stderr.text)
