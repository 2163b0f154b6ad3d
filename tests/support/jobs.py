"""The jobs that a runtime has for its worker."""

import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A job as it is sent to the worker."""

    job_id: str
    body: bytes


def job_body(query: bytes, *, job_id: str, query_type: str, members: Mapping[str, str]) -> bytes:
    """Return the documented envelope around `query`, which is inserted byte for byte."""
    head = {"jobId": job_id, "queryType": query_type, **members}
    return b'{"type":"computeModuleJobV1","computeModuleJobV1":%s,"query":%s}}' % (
        json.dumps(head).encode()[:-1],
        query,
    )


class JobQueue:
    """A queue of jobs. Each is delivered once, unless it is put back."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._offers: deque[Offer] = deque()
        self.known: set[str] = set()
        self.handed_out: list[str] = []

    def submit(
        self, query: bytes, function: str, *, job_id: str | None = None, members: Mapping[str, str] | None = None
    ) -> str:
        """Queue a job and return its id. `members` are further strings of the job, such as `authHeader`."""
        job_id = job_id or str(uuid.uuid4())
        self.offer(
            Offer(job_id=job_id, body=job_body(query, job_id=job_id, query_type=function, members=members or {}))
        )
        return job_id

    def offer(self, offer: Offer, *, first: bool = False) -> None:
        """Queue a job as raw bytes; `first` puts one back whose delivery failed."""
        with self._changed:
            self.known.add(offer.job_id)
            (self._offers.appendleft if first else self._offers.append)(offer)
            self._changed.notify_all()

    def take(self, seconds: Callable[[], float], is_alive: Callable[[], bool]) -> Offer | None:
        """Return the next job, None after `seconds()` without one or when the client has disconnected."""
        since = time.monotonic()
        with self._changed:
            while not self._offers:
                remaining = since + seconds() - time.monotonic()
                if remaining <= 0:
                    return None
                self._changed.wait(remaining)
            if not is_alive():
                return None
            offer = self._offers.popleft()
            self.handed_out.append(offer.job_id)
            self._changed.notify_all()
            return offer
