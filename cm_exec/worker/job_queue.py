"""The jobs in hand: in order of arrival, and no more at a time of one function than its share."""

import threading
from collections import deque
from collections.abc import Mapping
from itertools import count

from cm_exec.protocol.job import Job, MalformedJobError

Item = Job | MalformedJobError
"""What can be waiting for a slot: a job, or the remains of one, which is answered all the same."""


class JobQueue:
    """Hands the oldest job to the next free slot, passing over functions that have their share of slots.

    `shares` names the functions that have a `max_concurrency`.
    """

    def __init__(self, shares: Mapping[str, int]) -> None:
        self._shares = shares
        self._waiting: dict[str, deque[tuple[int, Item]]] = {}
        self._running: dict[str, int] = {}
        self._ids: set[str] = set()
        self._arrivals = count()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Add a job; False if one of the same id is in hand already and will be answered."""
        with self._changed:
            if item.job_id in self._ids:
                return False
            if item.job_id is not None:
                self._ids.add(item.job_id)
            self._waiting.setdefault(item.query_type, deque()).append((next(self._arrivals), item))
            self._changed.notify()
            return True

    def take(self) -> Item | None:
        """Wait for a job that may run now; None when the queue is closed and empty."""
        with self._changed:
            while (name := self._next()) is None:
                if self._closed and not self._waiting:
                    return None
                self._changed.wait()
            waiting = self._waiting[name]
            _, item = waiting.popleft()
            if not waiting:
                del self._waiting[name]
            self._running[name] = self._running.get(name, 0) + 1
            return item

    def done(self, item: Item) -> None:
        """The job is answered: its function's share is free again."""
        with self._changed:
            if item.job_id is not None:
                self._ids.discard(item.job_id)
            self._running[item.query_type] -= 1
            if not self._running[item.query_type]:
                del self._running[item.query_type]
            if self._waiting or self._closed:
                self._changed.notify_all()

    def close(self) -> None:
        """No job will be added any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def in_hand(self) -> int:
        """Jobs that wait or run."""
        with self._changed:
            return sum(map(len, self._waiting.values())) + sum(self._running.values())

    def _next(self) -> str | None:
        ready = [(waiting[0][0], name) for name, waiting in self._waiting.items() if self._has_share(name)]
        return min(ready)[1] if ready else None

    def _has_share(self, name: str) -> bool:
        share = self._shares.get(name)
        return share is None or self._running.get(name, 0) < share
