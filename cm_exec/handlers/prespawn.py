"""Mode prespawn: as spawn, with the next process started ahead, so that its start is off the job's path."""

from collections.abc import Iterator
from contextlib import contextmanager

from cm_exec.config.types import Function
from cm_exec.handlers.command import Command
from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.handler import Outcome, Surroundings
from cm_exec.handlers.one_job import OneJob
from cm_exec.handlers.outcome import not_started
from cm_exec.handlers.pool import Pool, PoolRules
from cm_exec.handlers.process import NotStartedError
from cm_exec.protocol.job import Job


class PrespawnHandler:
    """Keeps a process waiting on stdin for each of the function's `slots`."""

    def __init__(self, function: Function, surroundings: Surroundings, slots: int) -> None:
        self._function = function
        self._surroundings = surroundings
        rules = PoolRules(
            name=function.name,
            size=min(slots, function.max_concurrency or slots),
            silent=False,
            replace_idle=True,
            idle_timeout=function.idle_timeout,
        )
        self._pool = Pool(rules, Command(function, surroundings).start_ahead)

    def open(self) -> None:
        """Start the processes for the first jobs."""
        self._pool.open()

    def close(self) -> None:
        """End those that wait."""
        self._pool.close()

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        """Run one job in a process that waits, or in a new one where none does; see Handler."""
        try:
            member = self._pool.take()
        except NotStartedError as error:
            yield not_started(error)
            return
        member.child.send(job.query)
        with OneJob(self._function, self._surroundings, member.child, job, stderr).outcome() as outcome:
            self._pool.used_up()  # the next is started while this result is posted
            yield outcome
