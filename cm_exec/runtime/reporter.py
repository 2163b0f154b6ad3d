"""Post results: until the runtime has accepted one, or it is certain that it never will."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from cm_exec.protocol.status import Verdict, result_verdict
from cm_exec.runtime.connection import Body, StreamingBody
from cm_exec.runtime.endpoints import Endpoint
from cm_exec.runtime.errors import RequestError
from cm_exec.runtime.retry import Backoff, RetryLimits
from cm_exec.runtime.session import RuntimeSession

log: Final = logging.getLogger("cm_exec.runtime")

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]+")  # as a UUID is
_BYTES_PER_SECOND: Final = 1024 * 1024
_STREAM_SECONDS: Final = 24 * 3600.0
"""A stream may last as long as its job, which has its own timeout; a replica lives for 22 hours at most."""


class Delivery(Enum):
    """What became of a result."""

    ACCEPTED = auto()
    GONE = auto()
    """The runtime does not wait for it (any more)."""
    REJECTED = auto()
    """The runtime will not take this result; perhaps a smaller one."""


class Delivered(Struct, frozen=True):
    """What became of a result, and the last response to it in words."""

    delivery: Delivery
    why: str

    @property
    def is_accepted(self) -> bool:
        """Whether the runtime has the result."""
        return self.delivery is Delivery.ACCEPTED

    @property
    def is_rejected(self) -> bool:
        """Whether the runtime will not take this result."""
        return self.delivery is Delivery.REJECTED


class Reporter:
    """Posts results. `polls_succeed` says whether the runtime is well: if it is not, a result waits for it."""

    def __init__(
        self, session: RuntimeSession, endpoint: Endpoint, limits: RetryLimits, polls_succeed: Callable[[], bool]
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._polls_succeed = polls_succeed

    async def deliver(self, job_id: str, body: Body) -> Delivered:
        """Post until it is decided what becomes of this result."""
        limits = self._limits
        backoff = Backoff(limits.first_delay, limits.longest_delay)
        size = len(body) if isinstance(body, bytes) else getattr(body, "size", 0)
        seconds = limits.post + size / _BYTES_PER_SECOND
        failing_since: float | None = None
        while True:
            verdict, why, timed_out = await self._post(job_id, body, seconds)
            if verdict in _DECIDED:
                return self._decided(job_id, _DECIDED[verdict], why)
            now = time.monotonic()
            if failing_since is None or not self._polls_succeed():
                failing_since = now
            if now - failing_since > limits.rejected_result:
                return self._decided(job_id, Delivery.REJECTED, f"{why}, for {limits.rejected_result:g} s")
            if timed_out:
                seconds *= 2
            log.warning("the result of job %s is not posted yet: %s; trying again", job_id, why)
            await asyncio.sleep(backoff.next())
            if verdict is Verdict.REAUTHENTICATE:
                self._session.reload()

    async def stream(self, job_id: str, chunks: AsyncIterator[bytes]) -> Delivered | None:
        """Post a result as it is produced; None if that failed and the whole must be posted again.

        What `chunks` raises comes through, and the body is cut off without its end: the only sign of failure that the
        protocol has.
        """
        verdict, why, _ = await self._post(job_id, StreamingBody(chunks), _STREAM_SECONDS)
        if verdict in _DECIDED:
            return self._decided(job_id, _DECIDED[verdict], why)
        log.warning("the result of job %s was not streamed: %s; it is posted whole at its end", job_id, why)
        if verdict is Verdict.REAUTHENTICATE:
            self._session.reload()
        return None

    async def _post(self, job_id: str, body: Body, seconds: float) -> tuple[Verdict, str, bool]:
        path = "/" + (job_id if _SAFE.fullmatch(job_id) else quote(job_id, safe=""))
        try:
            response = await self._session.request(
                "POST", self._endpoint, path=path, body=body, content_type="application/octet-stream", seconds=seconds
            )
        except RequestError as error:
            return Verdict.RETRY, str(error), error.timed_out
        return result_verdict(response.status), f"the runtime answers {response.status}", False

    def _decided(self, job_id: str, delivery: Delivery, why: str) -> Delivered:
        if delivery is Delivery.GONE:
            log.warning("job %s: %s; it does not wait for the result, which is dropped", job_id, why)
        elif delivery is Delivery.REJECTED:
            log.error("job %s: the result is rejected: %s", job_id, why)
        return Delivered(delivery, why)


_DECIDED: Final = {
    Verdict.ACCEPTED: Delivery.ACCEPTED,
    Verdict.GONE: Delivery.GONE,
    Verdict.REFUSED: Delivery.REJECTED,
}
