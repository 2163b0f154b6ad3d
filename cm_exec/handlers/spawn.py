"""Mode spawn: a process for each job."""

from collections.abc import Iterator
from contextlib import contextmanager

from cm_exec.config.types import Function
from cm_exec.handlers.command import Command
from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.handler import Outcome, Surroundings
from cm_exec.handlers.one_job import OneJob
from cm_exec.handlers.outcome import not_started
from cm_exec.handlers.process import NotStartedError
from cm_exec.protocol.job import Job


class SpawnHandler:
    """Starts the function's command for each job, with the query as its stdin."""

    def __init__(self, function: Function, surroundings: Surroundings) -> None:
        self._function = function
        self._surroundings = surroundings
        self._command = Command(function, surroundings)

    def open(self) -> None:
        """Nothing is started ahead."""

    def close(self) -> None:
        """Nothing waits."""

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        """Run one job in a process of its own; see Handler."""
        try:
            child = self._command.start_for(job)
        except NotStartedError as error:
            yield not_started(error)
            return
        with OneJob(self._function, self._surroundings, child, job, stderr).outcome() as outcome:
            yield outcome
