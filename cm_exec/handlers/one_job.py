"""The life of a process that serves one job: from its query to the end of all that it started."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from cm_exec.config.types import Function
from cm_exec.handlers.exchange import Ending, Exchange, Limits, StderrSink
from cm_exec.handlers.handler import Outcome, Result, Stream, Surroundings
from cm_exec.handlers.leftovers import Leftovers
from cm_exec.handlers.outcome import outcome_of
from cm_exec.handlers.process import Child
from cm_exec.handlers.spool import LiveSpool, Spool
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job


class OneJob:
    """One job in one process; `child` has its query."""

    def __init__(
        self, function: Function, surroundings: Surroundings, child: Child, job: Job, stderr: StderrSink
    ) -> None:
        self._function = function
        self._surroundings = surroundings
        self._child = child
        self._job = job
        self._stderr = stderr
        self._leftovers = Leftovers(child.family)

    @contextmanager
    def outcome(self) -> Iterator[Outcome]:
        """How the job ended, or for a function that streams, its result as it comes."""
        try:
            with self._streamed() if self._function.stream else self._whole() as outcome:
                yield outcome
        finally:
            self._child.close()
            self._leftovers.finish()

    @contextmanager
    def _whole(self) -> Iterator[Outcome]:
        spool = Spool(self._surroundings.spool_directory)
        try:
            yield self._run(spool)
        finally:
            spool.close()

    @contextmanager
    def _streamed(self) -> Iterator[Outcome]:
        """The loop over the process runs on a thread of its own, so that this one can post meanwhile."""
        spool = LiveSpool(self._surroundings.spool_directory)
        loop = _Loop(lambda: self._run(spool), ended=lambda well: spool.end(well=well))
        loop.start()
        try:
            yield Stream(spool, loop.outcome) if spool.wait_for_begin() else loop.outcome()
        finally:
            loop.join()
            spool.close()

    def _run(self, spool: Spool) -> Result | Failure:
        limits = Limits(timeout=self._function.timeout, max_output=self._function.max_output)
        ending = Exchange(self._child, spool, limits, self._stderr, self._surroundings.stop).run()
        self._leftovers.terminate()
        return outcome_of(self._function, redacted(ending, self._job), spool)


def redacted(ending: Ending, job: Job) -> Ending:
    """The ending without the caller's tokens in what the command wrote to stderr."""
    return replace(ending, stderr=job.redact(ending.stderr)) if job.secrets else ending


class _Loop(threading.Thread):
    def __init__(self, run: Callable[[], Result | Failure], ended: Callable[[bool], None]) -> None:
        super().__init__(name="stream", daemon=True)
        self._run_job: Final = run
        self._tell: Final = ended
        self._outcome: Result | Failure | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome = self._run_job()
        except BaseException as error:  # noqa: BLE001 - raised again where the outcome is asked for
            self._error = error
        self._tell(isinstance(self._outcome, Result))

    def outcome(self) -> Result | Failure:
        self.join()
        if self._outcome is None:
            raise self._error or AssertionError
        return self._outcome
