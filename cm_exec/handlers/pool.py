"""Processes that are started ahead and wait for jobs."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from cm_exec.handlers.service_state import ServiceLog, ServiceState, StartHistory
from cm_exec.processes.child import Child, NotStartedError
from cm_exec.processes.termination import Graces, terminate_all
from cm_exec.protocol.failure import Failure, JobFailedError

log: Final = logging.getLogger("cm_exec.handler")


class PooledProcess(Protocol):
    """What a pool knows of its processes. `jobs` counts the jobs that it has had; none if it did not read its first."""

    child: Child
    jobs: int
    idle_since: float

    @property
    def has_room(self) -> bool:
        """Whether the process can take a job now."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether the start of the process is over."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether the process is ready and has no job."""
        ...

    def detach(self) -> None:
        """Stop watching the process, which is about to be ended."""
        ...


P = TypeVar("P", bound=PooledProcess)


class PoolOptions(Struct, frozen=True, kw_only=True):
    """What a pool does.

    `size` is the largest number of processes. With `replace_idle` a process that has waited for `idle_timeout` seconds
    is replaced, not only ended. `start_timeout` is how long jobs wait while starts fail, 0 for no limit.
    """

    name: str
    size: int
    idle_timeout: float | None
    start_timeout: float = 0.0
    replace_idle: bool = False


class Pool(Generic[P]):
    """Hands out processes with room for a job, the last used first, and keeps as many running as its options say."""

    def __init__(
        self, options: PoolOptions, start: Callable[[], P], graces: Graces, service_log: ServiceLog | None = None
    ) -> None:
        self._options = options
        self._start = start
        self._graces = graces
        self._service_log = service_log
        self.processes: list[P] = []
        self._wanted = options.size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._starts = StartHistory(options.start_timeout)
        self._refill: asyncio.TimerHandle | None = None
        self._retire: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.first_start_over = asyncio.Event()
        """Set when a process is ready for the first time, or when jobs are not kept waiting for one."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of this pool's log lines."""
        return {"function": self._options.name}

    def open(self) -> None:
        """Start the first processes."""
        self._fill()

    async def take(self) -> P:
        """Return a process with room for a job, a new one if necessary. Raises JobFailedError.

        After a failed start new ones are a matter of `_fill` and its pauses, not of each job.
        """
        while True:
            process = next((p for p in reversed(self.processes) if p.has_room), None)
            if process is not None:
                if self._waiting:  # it may have room for more than this job
                    asyncio.get_running_loop().call_soon(self._wake_if_room)
                return process
            if self._starts.refusal is not None and not self._any_is_ready():
                raise JobFailedError(self._starts.refusal)
            if len(self.processes) < self._options.size and not self._starts.failed_starts:
                process = self._start()
                self.processes.append(process)
                self._wanted = max(self._wanted, len(self.processes))
                self._log_state()
                if process.has_room:
                    return process
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)

    def became_ready(self) -> None:
        """Note that a start has succeeded."""
        self._starts.became_ready()
        self.first_start_over.set()
        self._log_state()

    def has_room(self, process: P) -> None:
        """Note that a process can take a job (again)."""
        if process in self.processes and self.processes[-1] is not process:
            self.processes.remove(process)
            self.processes.append(process)  # the last used is the next to be used
        if self._waiting:
            self._wake()
        if self._options.idle_timeout is not None and self._retire is None:
            loop = asyncio.get_running_loop()
            self._retire = loop.call_later(self._options.idle_timeout, self._end_idle)

    def remove(self, process: P) -> None:
        """Remove a process that has served its only job; its end is the caller's, and another takes its place."""
        self._forget(process)
        self._starts.reset()
        self._schedule_fill(0.0)

    def discard(self, process: P, failure: Failure | None = None) -> None:
        """End a process that is of no more use; another takes its place.

        `failure` says why it did not become ready. When that is so again and again, the jobs that wait get it.
        """
        if process not in self.processes:
            return
        self._forget(process)
        self._end([process])
        if process.jobs:
            self._starts.reset()
            self._schedule_fill(0.0)
        else:
            self._starts.ended(failure, began=process.idle_since, now=asyncio.get_running_loop().time())
            self._schedule_fill(self._starts.pause)
        if self._starts.refusal is not None:
            self.first_start_over.set()
            self._refuse(self._starts.refusal)
        if not self._starts.failed_starts:
            self._wake()
        self._log_state()

    def start_failed(self, process: P, failure: Failure) -> None:
        """End a process that did not become ready in time. It is logged, unless a job gets the failure."""
        if not self._waiting:
            log.warning("%s", failure.message, extra={"tags": self.tags})
        self.discard(process, failure)

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        for timer in (self._refill, self._retire):
            if timer is not None:
                timer.cancel()
        processes, self.processes = self.processes, []
        if processes:
            self._end(processes)
        if self._ending:
            await asyncio.wait(self._ending)
        if self._service_log is not None:
            self._service_log.close()

    def _log_state(self) -> None:
        if self._service_log is None or self._closed:
            return
        state: ServiceState = "starting"
        if self._any_is_ready():
            state = "ready"
        elif not self.processes and self._starts.has_failed:
            state = "failed"
        elif not self.processes and self._refill is None:
            state = "stopped"
        self._service_log.set(state, len(self.processes))

    def _forget(self, process: P) -> None:
        if process in self.processes:
            self.processes.remove(process)

    def _end(self, processes: list[P]) -> None:
        for process in processes:
            process.detach()
        task = asyncio.get_running_loop().create_task(terminate_all([p.child for p in processes], self._graces))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _wake(self) -> None:
        """Let one waiting job look again."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_if_room(self) -> None:
        if any(process.has_room for process in self.processes):
            self._wake()

    def _any_is_ready(self) -> bool:
        return any(process.is_ready for process in self.processes)

    def _refuse(self, failure: Failure) -> None:
        """Answer the jobs that wait, unless a process will have room for them."""
        while self._waiting and not self._any_is_ready():
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(JobFailedError(failure))

    def _schedule_fill(self, seconds: float) -> None:
        if self._closed or len(self.processes) >= self._wanted:
            return
        if self._refill is not None:
            self._refill.cancel()
        self._refill = asyncio.get_running_loop().call_later(seconds, self._fill)

    def _fill(self) -> None:
        """Start processes until there are as many as wanted, unless they cannot be started."""
        self._refill = None
        while not self._closed and len(self.processes) < self._wanted:
            try:
                process = self._start()
            except NotStartedError as error:
                log.warning("%s", error, extra={"tags": self.tags})
                self.first_start_over.set()
                self._refuse(error.failure)
                self._starts.cannot_start(asyncio.get_running_loop().time())
                self._schedule_fill(self._starts.pause)
                break
            self.processes.insert(0, process)
            if process.has_room:
                self._wake()
        self._log_state()

    def _end_idle(self) -> None:
        """End the processes that have waited for longer than idle_timeout."""
        self._retire = None
        limit = self._options.idle_timeout
        if limit is None or self._closed:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        old = [p for p in self.processes if p.is_idle and now - p.idle_since >= limit]
        for process in old:
            self._forget(process)
        if old:
            self._end(old)
            if self._options.replace_idle:
                self._schedule_fill(0.0)
            else:
                self._wanted -= len(old)
            self._log_state()
        idle = [p.idle_since for p in self.processes if p.is_idle]
        if idle:
            self._retire = loop.call_later(max(0.01, min(idle) + limit - now), self._end_idle)
