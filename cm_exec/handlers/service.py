"""Services and mode persistent: processes that stay up and serve one job after another."""

import asyncio
import logging
from contextlib import suppress
from itertools import count
from typing import Final

from cm_exec.config import Function, Service
from cm_exec.handlers import (
    Completion,
    Handler,
    HandlerContext,
    OnDelay,
    StderrSink,
    abortable,
    service_environment,
)
from cm_exec.handlers.envelope_process import EnvelopeProcess
from cm_exec.handlers.pool import Pool, PoolOptions
from cm_exec.handlers.service_process import ServiceProcess
from cm_exec.handlers.service_state import ServiceLog
from cm_exec.handlers.spool import StreamingSpool
from cm_exec.handlers.step_process import StepProcess
from cm_exec.processes.child import Child, Command
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, JobFailedError

log: Final = logging.getLogger("cm_exec.handler")

_TRIES: Final = 3
"""Processes that are tried while each ends, or writes something, before it has read the query."""

_NEAR_TIMEOUT: Final = 4.0
"""Seconds of a timeout that soon says itself what keeps a result back."""

_WAITS_FOR: Final = {
    "read": "its process has not read its stdin yet",
    "message": "its process has not sent its ready message yet",
}
"""What a service waits for, by its `ready`."""

_BLIND: Final = (
    "this system does not show whether a process waits for its stdin (/proc/PID/syscall), so a debug line that is JSON "
    "can be taken for a result: write nothing else to stdout, or use envelope = true"
)


class ServicePool(Pool[ServiceProcess]):
    """The processes of one service, shared by its functions."""

    def __init__(self, service: Service, context: HandlerContext, slots: int) -> None:
        self._service = service
        self._context = context
        self._environment = service_environment(service, context.environment)
        enough = -(-slots // service.jobs_per_process)
        options = PoolOptions(
            name=service.name,
            size=min(enough, service.processes or enough),
            idle_timeout=service.idle_timeout,
            start_timeout=service.start_timeout,
        )
        states = ServiceLog(service, lambda: _WAITS_FOR.get(service.ready, _WAITS_FOR["read"]))
        self._kind = EnvelopeProcess if service.envelope else StepProcess
        self._warns_of_blindness = not service.envelope
        super().__init__(options, self._start_process, context.graces, states)

    async def wait_until_ready(self) -> None:
        """Return when one process is ready, after start_timeout, or after several starts that failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._service.start_timeout or None):
                await self.first_start_over.wait()

    async def run(self, function: Function, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Failure | None:
        """Run one job in a process with room for it. Raises JobFailedError."""
        for _ in range(_TRIES):
            with abortable(self._context, function, job, spool):
                process = await self.take()
            attempt = await process.run(function, job, spool, stderr)
            if not attempt.is_repeatable:
                break
            spool.clear()
        return attempt.failure

    def obstacle(self, job_id: str) -> str:
        """Say what keeps the result of a job back; nothing if a process may be at work on it."""
        for process in self.processes:
            if process.has_job(job_id):
                return process.obstacle()
        return f"no process of {self._service.name!r} is ready"

    def _start_process(self) -> ServiceProcess:
        service = self._service
        command = Command(argv=service.argv, env=self._environment, cwd=service.cwd, result_fd=service.result_fd)
        process = self._kind(service, self._context, Child(command, self._context.trees), self)
        if self._warns_of_blindness and not process.probe.is_usable:
            self._warns_of_blindness = False
            log.warning("%s", _BLIND, extra={"tags": self.tags})
        return process


class ServiceHandler(Handler):
    """Runs the jobs of one function in the processes of its service."""

    def __init__(self, function: Function, context: HandlerContext, pool: ServicePool) -> None:
        super().__init__(function, context)
        self._pool = pool

    async def open(self) -> None:
        """Start the processes, so that the first job finds one."""
        self._pool.open()

    async def wait_until_ready(self) -> None:
        """Return when one process is ready, or when the service cannot be started."""
        await self._pool.wait_until_ready()

    async def close(self) -> None:
        """End the processes."""
        await self._pool.close()

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job in a process that has had others and will have more; see Handler."""
        on_delay = self._context.on_delay
        timeout = self._function.timeout
        watch = None
        if on_delay is not None and (not timeout or timeout > _NEAR_TIMEOUT):
            watch = asyncio.create_task(self._watch_delay(job, on_delay))
        try:
            failure = await self._pool.run(self._function, job, spool, stderr)
        except JobFailedError as error:
            return Completion(error.failure)
        finally:
            if watch is not None:
                watch.cancel()
        return Completion(failure)

    async def _watch_delay(self, job: Job, on_delay: OnDelay) -> None:
        """Report once what keeps the result back, when two looks in a row have seen the same."""
        before = ""
        for seconds in count(1):
            await asyncio.sleep(1)
            obstacle = self._pool.obstacle(job.job_id)
            if obstacle and obstacle == before:
                on_delay(job, seconds, obstacle)
                return
            before = obstacle
