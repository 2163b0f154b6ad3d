"""Asking for jobs: one poll at a time, for ever, at a pace that no trouble can turn into a spin."""

import time
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from cm_exec.protocol.status import Verdict, poll_verdict
from cm_exec.runtime.backoff import Backoff
from cm_exec.runtime.errors import ExchangeError, RuntimeRefusedError
from cm_exec.runtime.link import FIRST_DELAY, LONGEST_DELAY, Link, Stopped
from cm_exec.runtime.location import Endpoint
from cm_exec.runtime.trouble import Trouble

REFUSED_FOR_GOOD: Final = 600.0
"""Seconds of nothing but 401 and 403 after which the worker gives up, and the platform starts it again."""

_TOO_QUICK: Final = 0.02
"""Seconds: a runtime that says "no job" sooner does not hold polls, and is asked less often."""


_SLOWEST: Final = 0.4


class Polled(Struct, frozen=True):
    """What one poll brought.

    `body` is the job as the runtime sent it, None if there was none. `torn` is the beginning of a body that broke
    off: the runtime may take the job as handed out, or hand it out again.
    """

    body: bytes | bytearray | None = None
    torn: bytes = b""

    def __repr__(self) -> str:
        return f"Polled({len(self.body or b'')} bytes, {len(self.torn)} torn)"  # it may hold a secret


_NOTHING: Final = Polled()


class Poller:
    """The one poll that is kept open."""

    def __init__(self, link: Link, endpoint: Endpoint, stopped: Stopped) -> None:
        self._link = link
        self._endpoint = endpoint
        self._stopped = stopped
        self._trouble = Trouble("polling for jobs")
        self._after_failure = Backoff(FIRST_DELAY, LONGEST_DELAY)
        self._after_nothing = Backoff(_TOO_QUICK, _SLOWEST)
        self._refused_since: float | None = None

    def poll(self) -> Polled:
        """Ask once; after a failure, also wait for the time that the next poll should wait.

        Raises RuntimeRefusedError when the runtime has let nobody in for REFUSED_FOR_GOOD seconds.
        """
        started = time.monotonic()
        try:
            answer = self._link.request("GET", self._endpoint)
        except ExchangeError as error:
            self._refused_since = None
            self._failed(str(error))
            return Polled(torn=error.partial)
        verdict = poll_verdict(answer.status)
        if verdict is Verdict.REAUTHENTICATE:
            self._refused(answer.status)
            return _NOTHING
        self._refused_since = None
        if verdict is not Verdict.ACCEPTED:
            self._failed(f"the runtime answers {answer.status}")
            return _NOTHING
        if not answer.body and answer.status != HTTPStatus.NO_CONTENT:
            self._failed(f"the runtime answers {answer.status} with nothing in it")
            return _NOTHING
        return self._accepted(answer.body, time.monotonic() - started)

    def unusable(self, why: str) -> None:
        """What came was not a job: treat it as a failure, since asking at once would spin."""
        self._failed(why)

    def useful(self) -> None:
        """What came was a job."""
        self._trouble.over()
        self._after_failure.reset()
        self._after_nothing.reset()

    def _accepted(self, body: bytes | bytearray, seconds: float) -> Polled:
        if body:
            return Polled(body=body)
        self._trouble.over()
        self._after_failure.reset()
        if seconds < _TOO_QUICK:
            self._stopped(self._after_nothing.next())
        else:
            self._after_nothing.reset()
        return _NOTHING

    def _refused(self, status: int) -> None:
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        if now - self._refused_since > REFUSED_FOR_GOOD:
            raise RuntimeRefusedError(f"the runtime has answered {status} to every poll for {REFUSED_FOR_GOOD:g} s")
        self._link.renew()
        self._failed(f"the runtime answers {status}: it does not accept the token")

    def _failed(self, why: str) -> None:
        self._trouble.happened(why)
        self._stopped(self._after_failure.next())
