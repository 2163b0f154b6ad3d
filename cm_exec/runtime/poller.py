"""Long-poll for jobs. Every failure backs off, so that no failure can cause a busy loop."""

import asyncio
import time
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from cm_exec.errors import AuthenticationError
from cm_exec.protocol.status import Verdict, poll_verdict
from cm_exec.runtime.endpoints import Endpoint
from cm_exec.runtime.errors import RequestError
from cm_exec.runtime.retry import Backoff, FailureLog, RetryLimits
from cm_exec.runtime.session import RuntimeSession

_TOO_QUICK: Final = 0.02
"""Seconds: a runtime that answers "no job" sooner does not hold polls, and is asked less often."""

_SLOWEST: Final = 0.4


class Polled(Struct, frozen=True):
    """The outcome of one poll.

    `body` is the job as the runtime sent it, None if there was none. `partial` is the beginning of a truncated
    response: the runtime may count the job as handed out, or hand it out again.
    """

    body: bytes | bytearray | None = None
    partial: bytes = b""

    def __repr__(self) -> str:
        return f"Polled({len(self.body or b'')} bytes, {len(self.partial)} partial)"  # it may hold a secret


_NOTHING: Final = Polled()


class Poller:
    """Keeps one poll open. `is_well` is whether the last poll got a valid response."""

    def __init__(self, session: RuntimeSession, endpoint: Endpoint, limits: RetryLimits) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._failures = FailureLog("polling for jobs")
        self._after_failure = Backoff(limits.first_delay, limits.longest_delay)
        self._after_nothing = Backoff(_TOO_QUICK, _SLOWEST)
        self._rejected_since: float | None = None
        self.is_well = True
        self.pause = 0.0
        """Seconds to wait before the next poll."""

    async def poll(self) -> Polled:
        """Wait for the pause after the last poll, then ask once.

        Raises AuthenticationError when the runtime has rejected the token for too long.
        """
        if self.pause:
            pause, self.pause = self.pause, 0.0
            await asyncio.sleep(pause)
        started = time.monotonic()
        try:
            response = await self._session.request("GET", self._endpoint, seconds=self._limits.poll)
        except RequestError as error:
            self._rejected_since = None
            self._failed(str(error))
            return Polled(partial=error.partial)
        verdict = poll_verdict(response.status)
        if verdict is Verdict.REAUTHENTICATE:
            self._rejected(response.status)
            return _NOTHING
        self._rejected_since = None
        if verdict is not Verdict.ACCEPTED:
            self._failed(f"the runtime answers {response.status}")
            return _NOTHING
        if response.body:
            return Polled(body=response.body)
        if response.status != HTTPStatus.NO_CONTENT:
            self._failed(f"the runtime answers {response.status} with an empty body")
            return _NOTHING
        self._no_job(time.monotonic() - started)
        return _NOTHING

    def reject(self, why: str) -> None:
        """Note that the response was no job: a failure, since to ask again at once would spin."""
        self._failed(why)

    def accept(self) -> None:
        """Note that the response was a job."""
        self._succeeded()
        self._after_nothing.reset()

    def repeated(self) -> None:
        """Note that the response was a job that is in progress or answered: ask less and less often."""
        self.is_well = True
        self.pause = self._after_failure.next()

    def _no_job(self, seconds: float) -> None:
        self._succeeded()
        if seconds < _TOO_QUICK:
            self.pause = self._after_nothing.next()
        else:
            self._after_nothing.reset()

    def _succeeded(self) -> None:
        self.is_well = True
        self._failures.recovered()
        self._after_failure.reset()

    def _rejected(self, status: int) -> None:
        now = time.monotonic()
        self._rejected_since = self._rejected_since or now
        limit = self._limits.auth_failure
        if now - self._rejected_since > limit:
            raise AuthenticationError(f"the runtime has answered {status} to every poll for {limit:g} s")
        self._session.reload()
        self._failed(f"the runtime answers {status}: it does not accept the token")

    def _failed(self, why: str) -> None:
        self.is_well = False
        self._failures.failed(why)
        self.pause = self._after_failure.next()
