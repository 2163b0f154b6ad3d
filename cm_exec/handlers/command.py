"""A function's command, ready to be started: for one job, or ahead of it."""

import os
from typing import Final

from cm_exec.config.types import Function
from cm_exec.handlers.environment import function_environment, job_environment
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.process import Child
from cm_exec.protocol.environment import CM_JOB_ID
from cm_exec.protocol.job import Job

_JOB: Final = CM_JOB_ID.encode()
_PROCESS: Final = b"CM_EXEC_PROCESS"  # what marks the processes of a command that was started before its job
_UNBUFFERED: Final = b"PYTHONUNBUFFERED"


class Command:
    """Starts a function's processes."""

    def __init__(self, function: Function, surroundings: Surroundings) -> None:
        self._function = function
        self._families = surroundings.families
        self._environment = function_environment(function, surroundings.environment)
        if function.mode == "persistent":
            self._environment.setdefault(_UNBUFFERED, b"1")  # a result in a buffer is a result that never comes

    def start_for(self, job: Job) -> Child:
        """A process for this job, which is told of it in its environment. Raises NotStartedError."""
        of_job = job_environment(job, credentials=self._function.credentials)
        return self._start(of_job, (_JOB, of_job[_JOB]), job.query)

    def start_ahead(self) -> Child:
        """A process whose job is not known yet. Raises NotStartedError."""
        mark = (_PROCESS, os.urandom(8).hex().encode())
        return self._start(dict([mark]), mark, b"")

    def _start(self, more: dict[bytes, bytes], mark: tuple[bytes, bytes], first_input: bytes) -> Child:
        return Child(
            self._function.argv,
            env=self._environment | more,
            cwd=self._function.cwd,
            marker=b"=".join(mark),
            register=self._families,
            result_fd=self._function.result_fd,
            first_input=first_input,
        )
