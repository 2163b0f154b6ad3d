"""Mode persistent: a process serves one job after another."""

from collections.abc import Iterator
from contextlib import contextmanager

from cm_exec.config.types import Function
from cm_exec.handlers.command import Command
from cm_exec.handlers.envelope import unwrap, wrap
from cm_exec.handlers.exchange import Limits, StderrSink
from cm_exec.handlers.framing import OutOfStepError, frame_query, result_reader
from cm_exec.handlers.handler import Outcome, Result, Surroundings
from cm_exec.handlers.one_job import redacted
from cm_exec.handlers.outcome import not_started, out_of_step, outcome_of_turn
from cm_exec.handlers.pool import Member, Pool, PoolRules
from cm_exec.handlers.process import NotStartedError
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.turn import Turn
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job


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
        try:
            member = self._pool.take()
        except NotStartedError as error:
            yield not_started(error)
            return
        spool = Spool(self._surroundings.spool_directory)
        outcome: Result | Failure | None = None
        try:
            outcome = self._take_turn(member, job, spool, stderr)
            yield outcome
        finally:
            spool.close()
            self._dismiss(member, isinstance(outcome, Result))

    def _take_turn(self, member: Member, job: Job, spool: Spool, stderr: StderrSink) -> Result | Failure:
        function = self._function
        query = wrap(job, credentials=function.credentials) if function.envelope else job.query
        member.child.send(frame_query(function.framing, query))
        reader = result_reader(function.framing)
        turn = Turn(member.child, spool, self._limits, stderr, self._surroundings.stop, reader=reader)
        ending = redacted(turn.run(), job)
        if function.envelope and reader.is_complete:
            try:
                _replace(spool, unwrap(spool.getvalue(), job.job_id))
            except OutOfStepError as error:
                return out_of_step(function, str(error), ending)
        return outcome_of_turn(function, ending, spool, reader)

    def _dismiss(self, member: Member, is_well: bool) -> None:
        served = member.jobs + 1
        if is_well and (self._function.max_jobs is None or served < self._function.max_jobs):
            self._pool.give_back(member)
        else:
            member.jobs += is_well
            self._pool.discard(member)


def _replace(spool: Spool, result: bytes) -> None:
    if len(result) != spool.size:
        spool.clear()
        spool.write(result)
