"""The stream of what changes: each who watches gets the latest state, however slowly it reads."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from cm_exec.local_runtime.answers import NO_STORE
from cm_exec.local_runtime.core import Change, Evicted, LogLine, RuntimeJob
from cm_exec.local_runtime.core.worker_status import ProtocolViolation
from cm_exec.local_runtime.listener import ServerConnection, connection_of

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

    async def next(self) -> News:
        """Wait for changes and return them."""
        await self._arrived.wait()
        return self.take()

    def take(self) -> News:
        """Return what changed since the last call."""
        news, self._news = self._news, News()
        self._arrived.clear()
        return news


_EVENT_PAUSE: Final = 0.1
_LOOK_SECONDS: Final = 1.0
"""Seconds after which the worker's state is looked at again: that polls stopped is no event."""
_PING_SECONDS: Final = 15.0


class EventStream:
    """The answer to GET /events: `hello`, then an update of each news as `view` shows it, unless that is empty."""

    def __init__(
        self, subscribers: set[Subscriber], hello: dict[str, Any], view: Callable[[News], dict[str, Any]]
    ) -> None:
        self._subscribers = subscribers
        self._hello = hello
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Implement an ASGI application."""
        headers = [(b"content-type", b"text/event-stream"), NO_STORE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        try:
            await _send(send, _event_text("hello", self._hello))
            await self._follow(subscriber, connection_of(scope), send)
        finally:
            self._subscribers.discard(subscriber)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, subscriber: Subscriber, connection: ServerConnection, send: Send) -> None:
        last = connection.loop.time()
        while not (connection.gone or subscriber.closed):
            await subscriber.wait(_LOOK_SECONDS)
            update = self._view(subscriber.take())
            if update:
                await _send(send, _event_text("update", update))
            elif connection.loop.time() - last > _PING_SECONDS:
                await _send(send, b": ping\n\n")
            else:
                continue
            last = connection.loop.time()
            await asyncio.sleep(_EVENT_PAUSE)


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


def _event_text(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))
