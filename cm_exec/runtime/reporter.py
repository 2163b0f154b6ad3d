"""Posting results: until the runtime has taken one, or has said that it never will."""

import logging
import re
import time
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from cm_exec.protocol.status import Verdict, result_verdict
from cm_exec.runtime.backoff import Backoff
from cm_exec.runtime.connection import Body, Chunked
from cm_exec.runtime.errors import ExchangeError
from cm_exec.runtime.link import FIRST_DELAY, LONGEST_DELAY, Link, Stopped
from cm_exec.runtime.location import Endpoint

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]+")  # as a UUID is

log: Final = logging.getLogger(__name__)

REFUSED_RESULT: Final = 120.0
"""Seconds of nothing but 401 and 403 to one result after which it counts as refused: the token is not to blame."""


class Delivery(Enum):
    """What became of a result."""

    ACCEPTED = auto()
    GONE = auto()
    """The runtime does not wait for it (any more)."""
    REFUSED = auto()
    """The runtime will not take this result; a smaller one perhaps."""
    GIVEN_UP = auto()
    """The worker ends."""


class Delivered(Struct, frozen=True):
    """What became of a result, and the last answer to it in words."""

    delivery: Delivery
    why: str


class Reporter:
    """One slot's way to post results."""

    def __init__(self, link: Link, endpoint: Endpoint, stopped: Stopped) -> None:
        self._link = link
        self._endpoint = endpoint
        self._stopped = stopped

    def deliver(self, job_id: str, body: Body) -> Delivered:
        """Post until it is decided what becomes of this result."""
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        refused_since: float | None = None
        while True:
            verdict, why = self._post(job_id, body)
            if verdict is Verdict.REAUTHENTICATE:
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since > REFUSED_RESULT:
                    verdict = Verdict.REFUSED
            else:
                refused_since = None
            if verdict in _DECIDED:
                return self._decided(job_id, _DECIDED[verdict], why)
            log.warning("the result of job %s is not posted yet: %s; trying again", job_id, why)
            if self._stopped(backoff.next()):
                return self._decided(job_id, Delivery.GIVEN_UP, why)
            if verdict is Verdict.REAUTHENTICATE:
                self._link.renew()

    def stream(self, job_id: str, chunks: Iterator[bytes]) -> Delivered | None:
        """Post a result as it is produced; None where that came to nothing and the whole must be posted again.

        What `chunks` raises comes through, and the post is cut off without its end: the only sign of failure that
        the protocol has.
        """
        verdict, why = self._post(job_id, Chunked(chunks))
        if verdict in _DECIDED:
            return self._decided(job_id, _DECIDED[verdict], why)
        log.warning("the result of job %s was not streamed: %s; it is posted whole at its end", job_id, why)
        if verdict is Verdict.REAUTHENTICATE:
            self._link.renew()
        return None

    def _post(self, job_id: str, body: Body) -> tuple[Verdict, str]:
        path = "/" + (job_id if _SAFE.fullmatch(job_id) else quote(job_id, safe=""))
        try:
            answer = self._link.request(
                "POST", self._endpoint, path=path, body=body, content_type="application/octet-stream"
            )
        except ExchangeError as error:
            return Verdict.RETRY, str(error)
        return result_verdict(answer.status), f"the runtime answers {answer.status}"

    def _decided(self, job_id: str, delivery: Delivery, why: str) -> Delivered:
        if delivery is Delivery.GONE:
            log.warning("job %s: %s to its result and does not wait for it; dropped", job_id, why)
        elif delivery is Delivery.REFUSED:
            log.error("job %s: %s and will not take its result", job_id, why)
        elif delivery is Delivery.GIVEN_UP:
            log.error("job %s: its result could not be posted before the end: %s", job_id, why)
        return Delivered(delivery, why)

    def abort(self) -> None:
        """Let a post that hangs fail now."""
        self._link.abort()


_DECIDED: Final = {
    Verdict.ACCEPTED: Delivery.ACCEPTED,
    Verdict.GONE: Delivery.GONE,
    Verdict.REFUSED: Delivery.REFUSED,
}
