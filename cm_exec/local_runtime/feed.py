"""Collect changes for those who watch: each gets the latest state, however slowly it reads."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from cm_exec.local_runtime.core.job import Change, Evicted, LogLine, RuntimeJob
from cm_exec.local_runtime.core.worker_status import ProtocolViolation

JOBS_AT_ONCE: Final = 200
_LOGS_AT_ONCE: Final = 500
_VIOLATIONS_AT_ONCE: Final = 200
_FORGOTTEN_AT_ONCE: Final = 2000


class Notice(Enum):
    """What is published without a value: subscribers look it up."""

    FUNCTIONS = auto()
    STATE = auto()
    END = auto()
    """The runtime stops: nothing will change any more."""


@dataclass(slots=True)
class News:
    """What changed since the last. It is bounded: jobs by id, the rest by number."""

    changed: dict[str, RuntimeJob] = field(default_factory=dict)
    forgotten: deque[str] = field(default_factory=lambda: deque(maxlen=_FORGOTTEN_AT_ONCE))
    violations: deque[ProtocolViolation] = field(default_factory=lambda: deque(maxlen=_VIOLATIONS_AT_ONCE))
    logs: deque[LogLine] = field(default_factory=lambda: deque(maxlen=_LOGS_AT_ONCE))
    logs_dropped: int = 0
    functions: bool = False

    @property
    def jobs(self) -> list[RuntimeJob]:
        """The newest of the jobs that changed."""
        return sorted(self.changed.values(), key=lambda job: job.number)[-JOBS_AT_ONCE:]

    @property
    def jobs_omitted(self) -> int:
        """How many more jobs changed."""
        return max(0, len(self.changed) - JOBS_AT_ONCE)


@dataclass(slots=True, eq=False)
class Subscriber:
    """One who watches, and what it has not read yet."""

    _news: News = field(default_factory=News)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def publish(self, change: Change | LogLine | Notice) -> None:
        """Note a change."""
        news = self._news
        match change:
            case RuntimeJob():
                news.changed[change.job_id] = change
            case Evicted():
                news.changed.pop(change.job_id, None)
                news.forgotten.append(change.job_id)
            case ProtocolViolation():
                news.violations.append(change)
            case LogLine():
                news.logs_dropped += len(news.logs) == news.logs.maxlen
                news.logs.append(change)
            case Notice.FUNCTIONS:
                news.functions = True
            case Notice.END:
                self.closed = True
        self._arrived.set()

    async def wait(self, longest: float) -> None:
        """Return when something changed, or after `longest` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), longest)

    def take(self) -> News:
        """Return what changed since the last call."""
        news, self._news = self._news, News()
        self._arrived.clear()
        return news


@dataclass(slots=True)
class Feed:
    """All who watch."""

    subscribers: set[Subscriber] = field(default_factory=set)

    def publish(self, change: Change | LogLine | Notice) -> None:
        """Pass a change on."""
        for subscriber in self.subscribers:
            subscriber.publish(change)
