"""The jobs in hand: in order of arrival, and no more at a time of one function than its share."""

import threading
from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from queue import SimpleQueue

from cm_exec.protocol.job import Job, MalformedJobError

Item = Job | MalformedJobError
"""What can be waiting for a slot: a job, or the remains of one, which is answered all the same."""


class JobQueue:
    """Hands the oldest job to the next free slot, passing over functions that have their share of slots.

    `shares` names the functions that have a limit. Slots wait on a queue that is written in C, which has an entry for
    each job that may run: a Condition would cost as much as the rest of the hand-over.
    """

    def __init__(self, shares: Mapping[str, int]) -> None:
        self._shares = shares
        self._ready: list[tuple[int, Item]] = []  # a heap, the oldest first
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._arrivals = count()
        self._waiting: dict[str, deque[tuple[int, Item]]] = {}
        self._admitted: dict[str, int] = {}
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._in_hand = 0
        self._closed = False

    def put(self, item: Item) -> bool:
        """Add a job; False if one of the same id is in hand already and will be answered."""
        with self._lock:
            if item.job_id in self._ids:
                return False
            if item.job_id is not None:
                self._ids.add(item.job_id)
            self._in_hand += 1
            name = item.query_type
            admitted = self._admitted.get(name, 0)
            if admitted < self._shares.get(name, admitted + 1):
                self._admitted[name] = admitted + 1
                self._admit((next(self._arrivals), item))
            else:
                self._waiting.setdefault(name, deque()).append((next(self._arrivals), item))
            return True

    def take(self) -> Item | None:
        """Wait for a job that may run now; None when the queue is closed and empty."""
        self._bell.get()
        with self._lock:
            if self._ready:
                return heappop(self._ready)[1]
        self._bell.put(None)  # the end, for the other slots too
        return None

    def done(self, item: Item) -> None:
        """The job is answered: its function's share is free again."""
        name = item.query_type
        with self._lock:
            if item.job_id is not None:
                self._ids.discard(item.job_id)
            self._in_hand -= 1
            waiting = self._waiting.get(name)
            if waiting:
                self._admit(waiting.popleft())
            else:
                self._admitted[name] -= 1
                self._forget(name)
            self._end_if_empty()

    def close(self) -> None:
        """No job will be added any more."""
        with self._lock:
            self._closed = True
            self._end_if_empty()

    @property
    def in_hand(self) -> int:
        """Jobs that wait or run."""
        return self._in_hand

    def _admit(self, arrived: tuple[int, Item]) -> None:
        heappush(self._ready, arrived)
        self._bell.put(None)

    def _forget(self, name: str) -> None:
        """Names come from callers: none is kept for longer than it has jobs."""
        self._waiting.pop(name, None)
        if not self._admitted[name]:
            del self._admitted[name]

    def _end_if_empty(self) -> None:
        if self._closed and not any(self._waiting.values()):
            self._bell.put(None)
