"""Collect changes for those who watch: each gets the latest state, however slowly it reads."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cm_exec.local_runtime.core.faults import ProtocolEndpoint
from cm_exec.local_runtime.core.job import Change, Evicted, LogLine, RuntimeJob
from cm_exec.local_runtime.core.worker_status import ProtocolViolation

JOBS_AT_ONCE: Final = 200
_LOGS_AT_ONCE: Final = 500
_VIOLATIONS_AT_ONCE: Final = 200
_FORGOTTEN_AT_ONCE: Final = 2000
_REQUESTS_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What changed since the last. `jobs` are the newest of those that changed; `jobs_omitted` how many more did."""

    jobs: tuple[RuntimeJob, ...]
    jobs_omitted: int
    forgotten: tuple[str, ...]
    violations: tuple[ProtocolViolation, ...]
    logs: tuple[LogLine, ...]
    logs_dropped: int
    functions: bool


@dataclass(slots=True, eq=False)
class Subscriber:
    """One who watches. What it has not read yet is bounded: jobs by id, the rest by number."""

    _jobs: dict[str, RuntimeJob] = field(default_factory=dict)
    _forgotten: deque[str] = field(default_factory=lambda: deque(maxlen=_FORGOTTEN_AT_ONCE))
    _violations: deque[ProtocolViolation] = field(default_factory=lambda: deque(maxlen=_VIOLATIONS_AT_ONCE))
    _logs: deque[LogLine] = field(default_factory=lambda: deque(maxlen=_LOGS_AT_ONCE))
    _log_count: int = 0
    _functions: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def publish(self, change: Change | LogLine) -> None:
        """Note a change."""
        if isinstance(change, RuntimeJob):
            self._jobs[change.job_id] = change
        elif isinstance(change, Evicted):
            self._jobs.pop(change.job_id, None)
            self._forgotten.append(change.job_id)
        elif isinstance(change, ProtocolViolation):
            self._violations.append(change)
        else:
            self._logs.append(change)
            self._log_count += 1
        self._news.set()

    def tell_functions(self) -> None:
        """Note that the functions have changed."""
        self._functions = True
        self._news.set()

    def wake(self) -> None:
        """Something changed that is looked up where it is."""
        self._news.set()

    def close(self) -> None:
        """End the stream: nothing will change any more."""
        self.closed = True
        self._news.set()

    async def wait(self, longest: float) -> bool:
        """Return when something changed, or after `longest` seconds: whether it did."""
        try:
            await asyncio.wait_for(self._news.wait(), longest)
        except TimeoutError:
            return False
        return True

    def take(self) -> News:
        """Return what changed since the last call."""
        changed = list(self._jobs.values())
        newest = sorted(changed, key=lambda job: job.number)[-JOBS_AT_ONCE:] if changed else []
        news = News(
            jobs=tuple(newest),
            jobs_omitted=len(changed) - len(newest),
            forgotten=tuple(self._forgotten),
            violations=tuple(self._violations),
            logs=tuple(self._logs),
            logs_dropped=self._log_count - len(self._logs),
            functions=self._functions,
        )
        self._jobs.clear()
        self._forgotten.clear()
        self._violations.clear()
        self._logs.clear()
        self._log_count = 0
        self._functions = False
        self._news.clear()
        return news


@dataclass(slots=True)
class Feed:
    """All who watch."""

    subscribers: set[Subscriber] = field(default_factory=set)

    def publish(self, change: Change | LogLine) -> None:
        """Pass a change on."""
        for subscriber in self.subscribers:
            subscriber.publish(change)

    def tell_functions(self) -> None:
        """Note that the functions have changed."""
        for subscriber in self.subscribers:
            subscriber.tell_functions()

    def wake(self) -> None:
        """Something changed that subscribers look up."""
        for subscriber in self.subscribers:
            subscriber.wake()

    def close(self) -> None:
        """End all streams: the runtime stops."""
        for subscriber in self.subscribers:
            subscriber.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRequest:
    """A request of a worker. `at` in seconds since the epoch; `status` is 0 where a fault left it unanswered."""

    at: float
    endpoint: ProtocolEndpoint
    status: int


class RequestLog:
    """The last requests of workers, the oldest first: 10,000 at least."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.kept: list[WorkerRequest] = []

    def add(self, endpoint: ProtocolEndpoint, status: int) -> None:
        """Keep a request."""
        self.kept.append(WorkerRequest(at=self._clock(), endpoint=endpoint, status=status))
        if len(self.kept) > _REQUESTS_KEPT * 2:
            del self.kept[:_REQUESTS_KEPT]
