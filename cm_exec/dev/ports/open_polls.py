"""Polls that wait for a job, the longest-waiting first."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cm_exec.dev.core.job import Job
from cm_exec.dev.ports.listener import Connection

Found = Job | bytes
"""What a poll is answered with: a job, or a body as it stands."""


@dataclass(slots=True)
class OpenPolls:
    """`take` gives the next answer, if there is one, and `give_back` takes one that did not arrive."""

    take: Callable[[], Found | None]
    give_back: Callable[[Found], None]
    _waiting: deque[asyncio.Future[Found | None]] = field(default_factory=deque)
    _stopped: bool = False

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(not waiting.done() for waiting in self._waiting)

    def offer(self) -> None:
        """Give what there is to those who wait. To be called whenever there may be something."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            found = self.take()
            if found is None:
                return
            self._waiting.popleft().set_result(found)

    def stop(self) -> None:
        """Answer all who wait, and all who come, with nothing."""
        self._stopped = True
        while self._waiting:
            _give_up(self._waiting.popleft())

    def start(self) -> None:
        """Let polls wait (again)."""
        self._stopped = False

    async def next(self, connection: Connection, longest: float) -> Found | None:
        """What the poll on `connection` is answered with: None after `longest` seconds, or when it is gone."""
        found = self.take()
        if found is not None or self._stopped:
            return found
        waiting: asyncio.Future[Found | None] = connection.loop.create_future()
        self._waiting.append(waiting)

        def give_up(_: object = None) -> None:
            _give_up(waiting)

        connection.lost.add_done_callback(give_up)
        timer = connection.loop.call_later(longest, give_up)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._save(waiting)
            raise
        finally:
            timer.cancel()
            connection.lost.remove_done_callback(give_up)

    def _save(self, waiting: asyncio.Future[Found | None]) -> None:
        """Nobody is there to take what was found in the same moment."""
        found = None if waiting.cancelled() or not waiting.done() else waiting.result()
        if found is not None:
            self.give_back(found)


def _give_up(waiting: asyncio.Future[Found | None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
