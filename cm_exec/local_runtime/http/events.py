"""Server-sent events: what changed, at most ten times a second."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.feed import News, Subscriber
from cm_exec.local_runtime.http import views
from cm_exec.local_runtime.http.answers import NO_STORE
from cm_exec.local_runtime.http.listener import connection_of
from cm_exec.local_runtime.http.views import View

_PAUSE: Final = 0.1
_LOOK: Final = 1.0
"""Seconds after which the worker's state is looked at again: that polls stopped is no event."""
_PING: Final = 15.0


class EventStream:
    """The answer to GET /events. `run` names this run of the runtime; `faults` are the faults' texts."""

    def __init__(self, broker: Broker, *, run: str, faults: Callable[[], list[str]]) -> None:
        self._broker = broker
        self._run = run
        self._faults = faults
        self._subscriber = Subscriber()
        self._sent: View = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Implement an ASGI application."""
        headers = [(b"content-type", b"text/event-stream"), NO_STORE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        subscribers = self._broker.feed.subscribers
        subscribers.add(self._subscriber)
        try:
            await self._send(send, _event("hello", {"run": self._run, "sequence": 0}))
            await self._follow(scope, send)
        finally:
            subscribers.discard(self._subscriber)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, scope: Scope, send: Send) -> None:
        connection = connection_of(scope)
        last = connection.loop.time()
        while not (connection.gone or self._subscriber.closed):
            await self._subscriber.wait(_LOOK)
            update = self._update(self._subscriber.take())
            if update:
                await self._send(send, _event("update", update))
            elif connection.loop.time() - last > _PING:
                await self._send(send, b": ping\n\n")
            else:
                continue
            last = connection.loop.time()
            await asyncio.sleep(_PAUSE)

    async def _send(self, send: Send, text: bytes) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": True})

    def _update(self, news: News) -> View:
        broker = self._broker
        update: View = {}
        if news.jobs:
            update["jobs"] = [views.job_view(job, broker) for job in news.jobs]
            ended = {job.function for job in news.jobs if job.state.final}
            if ended:
                update["calls"] = {function: views.calls_view(function, broker) for function in ended}
        if news.jobs_omitted:
            update["jobsOmitted"] = news.jobs_omitted
        if news.forgotten:
            update["forgotten"] = news.forgotten
        if news.violations:
            update["breaches"] = [views.violation_view(violation) for violation in news.violations]
            update["breachCount"] = broker.ledger.violation_count
        if news.logs:
            update["logs"] = [views.log_view(line) for line in news.logs]
            update["logsDropped"] = news.logs_dropped
        if news.functions:
            update["functions"] = views.functions_view(broker)
        return update | self._looked_up()

    def _looked_up(self) -> View:
        """Return the parts of the state that differ from what was sent last."""
        now = {
            "queue": views.queue_view(self._broker),
            "worker": views.worker_view(self._broker),
            "faults": self._faults(),
        }
        changed = {
            name: value
            for name, value in now.items()
            if _without_poll_counters(value) != _without_poll_counters(self._sent.get(name))
        }
        self._sent |= changed
        return changed


def _without_poll_counters(value: object) -> object:
    """Return a value without the counters that change with every poll."""
    if not isinstance(value, dict) or "lastPoll" not in value:
        return value
    return {name: member for name, member in value.items() if name not in {"lastPoll", "polls", "openPolls"}}


def _event(kind: str, data: View) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))
