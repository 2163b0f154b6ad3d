"""The one interface of all modes: what the worker and `cm-exec invoke` know of a handler."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct, field

from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.orphans import Family
from cm_exec.handlers.spool import LiveSpool, Spool
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job


class Result(Struct, frozen=True):
    """A job's result, ready to be posted."""

    spool: Spool


class Stream(Struct, frozen=True):
    """A result that is still being produced, and has begun.

    `ended` waits for its end and says how it ended: well, and then `spool` holds the whole, or as a failure.
    """

    spool: LiveSpool
    ended: Callable[[], Result | Failure]


Outcome = Result | Failure | Stream


class Surroundings(Struct, frozen=True, kw_only=True):
    """What all handlers of a launcher share.

    `environment` is the launcher's own; `spool_directory` is where large results wait, None for memory only; `stop`
    ends every job when it is set; `families` are those that may have a process alive.
    """

    environment: Mapping[bytes, bytes]
    spool_directory: str | None
    stop: StopNow
    families: set[Family] = field(default_factory=set)

    def kill_all(self) -> None:
        """End every process of every job at once, without asking."""
        self.stop.set()
        for family in list(self.families):
            family.kill()


class Handler(Protocol):
    """Runs the jobs of one function; used by several threads at once."""

    def open(self) -> None:
        """Start what is to be ready before the first job."""
        ...

    def close(self) -> None:
        """End what waits for a job, after the last."""
        ...

    def run(self, job: Job, stderr: StderrSink) -> AbstractContextManager[Outcome]:
        """Run one job.

        Inside the context the outcome can be read, as often as wanted; on leaving it, what the job's command left
        behind has ended and the result's space is given back. Nothing that a command does makes it raise.
        """
        ...
