"""Running jobs through handlers, without a runtime and without the program around them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cm_exec.config import Function, parse_config
from cm_exec.handlers.handler import Handler, Result, Surroundings
from cm_exec.handlers.modes import create_handlers
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job
from tests.support import toml


def function_of(folder: Path, command: str | Sequence[str], **options: object) -> Function:
    """The function `f` of a cm.toml in `folder`."""
    config = parse_config(toml.function("f", command, **options), path=folder / "cm.toml")
    return config.functions["f"]


@contextmanager
def surroundings(
    spool_directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Surroundings]:
    """What handlers share, for one test."""
    stop = StopNow()
    environ = dict(os.environ if environment is None else environment)
    try:
        yield Surroundings(
            environment={os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
            spool_directory=None if spool_directory is None else str(spool_directory),
            stop=stop,
        )
    finally:
        stop.close()


def handler_of(function: Function, shared: Surroundings) -> Handler:
    return create_handlers([function], shared, 1)[function.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of one job: `result` or `failure`, and all that it wrote to stderr."""

    result: bytes | None
    failure: Failure | None
    stderr: bytes

    @property
    def reason(self) -> str:
        assert self.failure is not None, f"a result of {len(self.result or b'')} bytes"
        return self.failure.reason.value


def run(handler: Handler, query: bytes = b"null", *, job: Job | None = None) -> Ran:
    """Run one job to its end."""
    stderr: list[bytes] = []
    with handler.run(job or Job(job_id="job-1", query_type="f", query=query), stderr.append) as outcome:
        if isinstance(outcome, Result):
            assert outcome.spool.getvalue() == b"".join(outcome.spool.chunks())
            result = outcome.spool.getvalue()
            assert outcome.spool.size == len(result)
            return Ran(result=result, failure=None, stderr=b"".join(stderr))
        assert isinstance(outcome, Failure)
        return Ran(result=None, failure=outcome, stderr=b"".join(stderr))
