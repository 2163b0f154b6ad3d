"""Polls that wait for a job, the longest-waiting first."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cm_exec.local_runtime.core.job import RuntimeJob
from cm_exec.local_runtime.http.listener import ServerConnection

Found = RuntimeJob | bytes
"""What a poll is answered with: a job, or a body as it stands."""


_HELD_POLL = 0.05
"""Seconds that a poll takes while jobs are held: a worker that has yet to take its SIGTERM comes again soon."""


@dataclass(slots=True)
class OpenPolls:
    """`take` gives the next answer, if there is one, and `give_back` takes one that did not arrive."""

    take: Callable[[], Found | None]
    give_back: Callable[[Found], None]
    _waiting: deque[asyncio.Future[Found | None]] = field(default_factory=deque)
    _stopped: bool = False
    _held: bool = False

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(not waiting.done() for waiting in self._waiting)

    def offer(self) -> None:
        """Give what there is to those who wait. To be called whenever there may be something."""
        while self._waiting and not self._held:
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
        self._send_away()

    def start(self) -> None:
        """Let polls wait (again)."""
        self._stopped = False

    def hold(self) -> None:
        """Answer all who wait with nothing, and keep what there is for later."""
        self._held = True
        self._send_away()

    def release(self) -> None:
        """Give what was held."""
        self._held = False
        self.offer()

    def _send_away(self) -> None:
        while self._waiting:
            _give_up(self._waiting.popleft())

    async def next(self, connection: ServerConnection, longest: float) -> Found | None:
        """Return the answer to a poll: None after `longest` seconds, or when its connection is gone."""
        found = None if self._held else self.take()
        if found is not None or self._stopped:
            return found
        longest = min(longest, _HELD_POLL) if self._held else longest
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
