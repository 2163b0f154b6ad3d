"""Mode spawn: a process for each job."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cm_exec.config.types import Function
from cm_exec.handlers.environment import function_environment, job_environment
from cm_exec.handlers.exchange import Exchange, Limits, StderrSink
from cm_exec.handlers.handler import Outcome, Surroundings
from cm_exec.handlers.leftovers import Leftovers
from cm_exec.handlers.outcome import outcome_of
from cm_exec.handlers.process import Child, NotStartedError
from cm_exec.handlers.spool import Spool
from cm_exec.protocol.environment import CM_JOB_ID
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.job import Job


class SpawnHandler:
    """Starts the function's command for each job, with the query as its stdin."""

    def __init__(self, function: Function, surroundings: Surroundings) -> None:
        self._function = function
        self._surroundings = surroundings
        self._limits = Limits(timeout=function.timeout, max_output=function.max_output)
        self._environment = function_environment(function, surroundings.environment)

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        """Run one job in a process of its own; see Handler."""
        try:
            child = self._start(job)
        except NotStartedError as error:
            yield Failure(reason=Reason.NOT_STARTED, message=str(error), exit_code=error.exit_code)
            return
        spool = Spool(self._surroundings.spool_directory)
        leftovers = Leftovers(child.family)
        self._surroundings.families.add(child.family)
        try:
            ending = Exchange(child, spool, self._limits, stderr, self._surroundings.stop).run()
            leftovers.terminate()
            yield outcome_of(self._function, replace(ending, stderr=job.redact(ending.stderr)), spool)
        finally:
            child.close()
            spool.close()
            leftovers.finish()
            self._surroundings.families.discard(child.family)

    def _start(self, job: Job) -> Child:
        of_job = job_environment(job, credentials=self._function.credentials)
        return Child(
            self._function.argv,
            env=self._environment | of_job,
            cwd=self._function.cwd,
            marker=b"%s=%s" % (CM_JOB_ID.encode(), of_job[CM_JOB_ID.encode()]),
            first_input=job.query,
        )
