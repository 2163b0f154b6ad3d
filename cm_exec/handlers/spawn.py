"""Modes spawn and prespawn: one process per job, started for it or ahead of it."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from typing import Final

from cm_exec.config import Function
from cm_exec.handlers import (
    Completion,
    Handler,
    HandlerContext,
    StderrSink,
    abortable,
    command_environment,
    job_environment,
)
from cm_exec.handlers.outcome import LogPipe, StderrLogger, StderrTail, log_exit
from cm_exec.handlers.pool import Pool, PoolOptions
from cm_exec.handlers.single_use import run_single_use
from cm_exec.handlers.spool import StreamingSpool
from cm_exec.processes.child import Child, Command, NotStartedError
from cm_exec.protocol import Job
from cm_exec.protocol import environment as names
from cm_exec.protocol.failure import JobFailedError

CM_JOB_DIR: Final = names.CM_JOB_DIR.encode()


class ProcessFactory:
    """Starts the processes of one function."""

    def __init__(self, function: Function, context: HandlerContext) -> None:
        self._function = function
        self._trees = context.trees
        self._environment = command_environment(function, context.environment)

    def start_for_job(self, job: Job) -> Child:
        """Start a process with the job in its environment and the query on its stdin. Raises NotStartedError."""
        return self._start(job_environment(job, credentials=self._function.credentials), job.query)

    def prestart(self) -> Child:
        """Start a process whose job is not known yet. Raises NotStartedError."""
        return self._start({}, b"")

    def _start(self, more: Mapping[bytes, bytes], first_input: bytes | memoryview) -> Child:
        function = self._function
        folder = _make_job_dir() if function.job_dir else None
        env = {**self._environment, **more}
        if folder is not None:
            env[CM_JOB_DIR] = os.fsencode(folder)
        command = Command(argv=function.argv, env=env, cwd=function.cwd, result_fd=function.result_fd)
        try:
            return Child(command, self._trees, first_input, folder)
        except NotStartedError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _make_job_dir() -> str:
    import tempfile  # noqa: PLC0415 - most functions have no folder per job

    try:
        return tempfile.mkdtemp(prefix="cm-exec-job-")
    except OSError as error:
        raise NotStartedError(f"the job's folder cannot be created: {error.strerror}", None) from None


class SpawnHandler(Handler):
    """Starts the function's command for each job, with the query as its stdin."""

    def __init__(self, function: Function, context: HandlerContext) -> None:
        super().__init__(function, context)
        self._factory = ProcessFactory(function, context)

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job in a process of its own; see Handler."""
        try:
            child = self._factory.start_for_job(job)
        except NotStartedError as error:
            return Completion(error.failure)
        return await run_single_use(self._function, self._context, child, job, spool, stderr)


class PrespawnHandler(Handler):
    """Keeps processes waiting on stdin, so that their start is off the job's way.

    It is ready at once: a process that waits for long has its job's query when it reads.
    """

    def __init__(self, function: Function, context: HandlerContext, slots: int) -> None:
        super().__init__(function, context)
        options = PoolOptions(
            name=function.name,
            size=min(slots, function.max_concurrency or slots),
            idle_timeout=function.idle_timeout,
            replace_idle=True,
        )
        factory = ProcessFactory(function, context)
        self._pool: Pool[WaitingProcess] = Pool(
            options, lambda: WaitingProcess(factory.prestart(), self._pool), context.graces
        )

    async def open(self) -> None:
        """Start the processes for the first jobs."""
        self._pool.open()

    async def close(self) -> None:
        """End those that wait."""
        await self._pool.close()

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job in a process that waits, or in a new one; see Handler."""
        try:
            with abortable(self._context, self._function, job, spool):
                process = await self._pool.take()
        except JobFailedError as error:
            return Completion(error.failure)
        process.detach()
        process.child.send(job.query)
        try:
            return await run_single_use(self._function, self._context, process.child, job, spool, stderr)
        finally:
            self._pool.remove(process)


class WaitingProcess:
    """One process that waits for its only job. Its stderr is logged meanwhile, and its exit makes room for another."""

    def __init__(self, child: Child, pool: "Pool[WaitingProcess]") -> None:
        self.child = child
        self.jobs = 0
        self.is_ready = True
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.idle_since = self._loop.time()
        self._waits = True
        self._stderr_tail = StderrTail()
        self._stderr = LogPipe(child.stderr, self._stderr_tail, StderrLogger(pool.tags))
        child.exit_watch.start(self._loop, self._exited)
        self._loop.call_soon(pool.has_room, self)

    @property
    def has_room(self) -> bool:
        """Whether it waits. It is looked at here, too: the loop may not have seen its exit yet."""
        return self._waits and self.child.exit_status() is None

    is_idle = has_room

    def detach(self) -> None:
        """Stop watching: the job's own loop takes over, or the process is ended."""
        if self._waits:
            self._waits = False
            self.child.exit_watch.stop(self._loop)
            self._stderr.close()

    def _exited(self) -> None:
        status = self.child.exit_status()
        if status is not None:
            self._stderr.read_rest()
            self._stderr.close()
            subject = f"the process of {self._pool.tags['function']!r}"
            log_exit(subject, "before it had a job", status, self._stderr_tail.getvalue(), self._pool.tags)
            self._pool.discard(self)
