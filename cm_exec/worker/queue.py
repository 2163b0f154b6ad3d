"""The jobs that the worker has: a queue with slots and a concurrency limit per function, and truncated deliveries."""

import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Final

from cm_exec.protocol import Job, MalformedJobError

QueuedJob = Job | MalformedJobError
"""A job, or the remains of one, which is answered all the same."""

_REMEMBERED: Final = 10_000


class JobQueue:
    """Hands out the oldest job that may run, passing over functions at their limit.

    `slots` is the number of jobs that run at a time; `limits` names the functions with a limit of their own.
    """

    def __init__(self, slots: int, limits: Mapping[str, int]) -> None:
        self._slots = slots
        self._limits = limits
        self._ready: list[tuple[int, QueuedJob]] = []  # a heap, the oldest first
        self._arrivals = count()
        self._waiting: dict[str, deque[tuple[int, QueuedJob]]] = {}
        self._admitted: dict[str, int] = {}
        self._ids: set[str] = set()
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._running = 0
        self.outstanding = 0
        """Jobs that wait or run."""

    def is_outstanding(self, job_id: str) -> bool:
        """Return whether the job waits or runs."""
        return job_id in self._ids

    def was_answered(self, job_id: str) -> bool:
        """Return whether the runtime has accepted a result for this job, among the last ten thousand."""
        return job_id in self._answered

    def put(self, item: QueuedJob) -> None:
        """Add a job, whose id is not outstanding."""
        if item.job_id is not None:
            self._ids.add(item.job_id)
        self.outstanding += 1
        name = item.query_type
        admitted = self._admitted.get(name, 0)
        if admitted < self._limits.get(name, admitted + 1):
            self._admitted[name] = admitted + 1
            heappush(self._ready, (next(self._arrivals), item))
        else:
            self._waiting.setdefault(name, deque()).append((next(self._arrivals), item))

    def take(self) -> QueuedJob | None:
        """Return a job that may run now, None if there is none or no free slot."""
        if not self._ready or self._running >= self._slots:
            return None
        self._running += 1
        return heappop(self._ready)[1]

    def lift_limits(self) -> None:
        """Let all jobs run at once, those that wait and those that come."""
        self._slots = sys.maxsize
        self._limits = {}
        for name, waiting in self._waiting.items():
            self._admitted[name] = self._admitted.get(name, 0) + len(waiting)
            for entry in waiting:
                heappush(self._ready, entry)
        self._waiting.clear()

    def done(self, item: QueuedJob, *, answered: bool) -> None:
        """Note that the job is over; `answered`: the runtime has accepted its result."""
        name = item.query_type
        if item.job_id is not None:
            self._ids.discard(item.job_id)
            if answered:
                self._answered[item.job_id] = None
                if len(self._answered) > _REMEMBERED:
                    self._answered.popitem(last=False)
        self._running -= 1
        self.outstanding -= 1
        waiting = self._waiting.get(name)
        if waiting:
            heappush(self._ready, waiting.popleft())
        else:
            self._admitted[name] -= 1
            self._waiting.pop(name, None)  # names come from callers: none is kept longer than its jobs
            if not self._admitted[name]:
                del self._admitted[name]


class TruncatedJobs:
    """Jobs whose poll response was truncated; the runtime may or may not hand them out again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def add(self, job_id: str, now: float) -> None:
        """Note a truncated response with this job."""
        self._since.setdefault(job_id, now)

    def redelivered(self, job_id: str | None) -> None:
        """Note that the job was handed out completely."""
        if job_id is not None:
            self._since.pop(job_id, None)

    def overdue(self, now: float) -> list[str]:
        """Remove and return the jobs that were not handed out again in time."""
        if not self._since:
            return []
        ids = [job_id for job_id, since in self._since.items() if now - since >= self._seconds]
        for job_id in ids:
            del self._since[job_id]
        return ids
