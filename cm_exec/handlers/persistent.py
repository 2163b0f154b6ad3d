"""Mode persistent: a process serves one job after another."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from cm_exec.config.types import Function
from cm_exec.handlers.command import Command
from cm_exec.handlers.envelope import unwrap, wrap
from cm_exec.handlers.exchange import Ending, Limits, StderrSink
from cm_exec.handlers.framing import OutOfStepError, ResultReader, frame_query, result_reader
from cm_exec.handlers.handler import Outcome, Result, Surroundings
from cm_exec.handlers.one_job import redacted
from cm_exec.handlers.outcome import not_started, out_of_step, outcome_of_turn
from cm_exec.handlers.pool import Member, Pool, PoolRules
from cm_exec.handlers.process import NotStartedError
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.turn import Turn
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job

_TRIES: Final = 3


class PersistentHandler:
    """Hands jobs to the processes of a pool, one at a time to each.

    A process that fails its job is not trusted with another.
    """

    def __init__(self, function: Function, surroundings: Surroundings, slots: int) -> None:
        self._function = function
        self._surroundings = surroundings
        self._limits = Limits(timeout=function.timeout, max_output=function.max_output)
        rules = PoolRules(
            name=function.name,
            size=min(slots, function.max_concurrency or slots, function.processes or slots),
            silent=True,
            replace_idle=False,
            idle_timeout=function.idle_timeout,
        )
        self._pool = Pool(rules, Command(function, surroundings).start_ahead)

    def open(self) -> None:
        """Start the processes, so that the first job finds one."""
        self._pool.open()

    def close(self) -> None:
        """End them."""
        self._pool.close()

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        """Run one job in a process that has had others and will have more; see Handler."""
        spool = Spool(self._surroundings.spool_directory)
        try:
            served = self._serve(job, spool, stderr)
        except NotStartedError as error:
            yield not_started(error)
            return
        try:
            yield served.outcome
        finally:
            spool.close()
            self._dismiss(served)

    def _serve(self, job: Job, spool: Spool, stderr: StderrSink) -> "_Served":
        """Run the job; a process that ends or speaks before it has the whole query has not had the job.

        Raises NotStartedError.
        """
        served = self._take_turn(self._pool.take(), job, spool, stderr)
        for _ in range(_TRIES - 1):
            if served.given:
                break
            self._dismiss(served)
            spool.clear()
            served = self._take_turn(self._pool.take(), job, spool, stderr)
        return served

    def _take_turn(self, member: Member, job: Job, spool: Spool, stderr: StderrSink) -> "_Served":
        function, before = self._function, member.redact
        query = wrap(job, credentials=function.credentials) if function.envelope else job.query
        reader = result_reader(function.framing)
        turn = Turn(
            member.child,
            spool,
            self._limits,
            lambda text: stderr(before(text)),  # what the last job left in the pipe
            self._surroundings.stop,
            frame=frame_query(function.framing, query),
            reader=reader,
        )
        member.redact = job.redact
        ending = redacted(turn.run(), job)
        outcome = self._outcome(job, ending, spool, reader, given=turn.given)
        return _Served(member, outcome, given=turn.given or ending.cause is not None)

    def _outcome(
        self, job: Job, ending: Ending, spool: Spool, reader: ResultReader, *, given: bool
    ) -> Result | Failure:
        if not given and ending.cause is None and (ending.status is None or reader.is_complete):
            return out_of_step(self._function, "a result that nobody asked for", ending)
        if self._function.envelope and reader.is_complete:
            try:
                _replace(spool, unwrap(spool.getvalue(), job.job_id))
            except OutOfStepError as error:
                return out_of_step(self._function, str(error), ending)
        return outcome_of_turn(self._function, ending, spool, reader)

    def _dismiss(self, served: "_Served") -> None:
        member, is_well = served.member, isinstance(served.outcome, Result)
        if is_well and (self._function.max_jobs is None or member.jobs + 1 < self._function.max_jobs):
            self._pool.give_back(member)
        else:
            member.jobs += is_well
            self._pool.discard(member)


class _Served(Struct, frozen=True):
    """How a job went in one process; `given` tells whether the process had the whole query, or was ended."""

    member: Member
    outcome: Result | Failure
    given: bool


def _replace(spool: Spool, result: bytes) -> None:
    if len(result) != spool.size:
        spool.clear()
        spool.write(result)
