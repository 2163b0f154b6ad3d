"""Failures of requests to the runtime: what they mean, when to try again, when to give up, how they are logged."""

import logging
import os
import time
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from msgspec import Struct

log: Final = logging.getLogger("cm_exec.runtime")


class NotReadyError(Exception):
    """Raised when a file that the platform writes is missing or incomplete."""


class RequestError(Exception):
    """Raised when a request gets no complete response. The message says why.

    `never_connected`: nobody accepted the connection, or it was lost before the runtime can have worked on the
    request. `untrusted`: the connection was closed before anything was sent. `timed_out`: the deadline has passed.
    `exhausted`: no descriptor was left for another connection. `never_sent`: the connection was closed before a byte
    of the request was sent. `partial`: what came of the response's body.
    """

    def __init__(
        self,
        message: str,
        *,
        never_connected: bool = False,
        untrusted: bool = False,
        timed_out: bool = False,
        exhausted: bool = False,
        never_sent: bool = False,
        partial: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.never_connected = never_connected
        self.untrusted = untrusted
        self.timed_out = timed_out
        self.exhausted = exhausted
        self.never_sent = never_sent
        self.partial = partial


class Verdict(Enum):
    """What the worker does after a response."""

    ACCEPTED = auto()
    """Done: any 2xx (the documents say 204, other listeners send 202)."""
    REAUTHENTICATE = auto()
    """Read the token again, then repeat."""
    RETRY = auto()
    """Undecided: repeat after a pause."""
    GONE = auto()
    """The runtime no longer waits for this: drop it."""
    REFUSED = auto()
    """The runtime will never accept this: send something else, or nothing."""


_REAUTHENTICATE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TRANSIENT: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.LOCKED,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})


def result_verdict(status: int) -> Verdict:
    """Return the meaning of the response to a posted result.

    404, 409 and 410 mean that nobody waits for this job, or that it already has a result: posting an error instead
    could only do harm.
    """
    if 200 <= status < 300:  # noqa: PLR2004 - the 2xx class
        return Verdict.ACCEPTED
    if status in _REAUTHENTICATE:
        return Verdict.REAUTHENTICATE
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.RETRY
    if status in _GONE:
        return Verdict.GONE
    return Verdict.REFUSED


def poll_verdict(status: int) -> Verdict:
    """Return the meaning of the response to GET job; no status ends the polling."""
    verdict = result_verdict(status)
    return verdict if verdict in {Verdict.ACCEPTED, Verdict.REAUTHENTICATE} else Verdict.RETRY


class RetryLimits(Struct, frozen=True, kw_only=True):
    """Times in seconds.

    `schema_patience`, `restart_patience`: for the two posts at the start, while the runtime is not ready for them. A
    restart that is not notified can block the replica for 22 hours, so it is worth a longer wait.
    `connect`: for a connection with its TLS handshake. `poll`: for a whole poll, which the runtime holds for 5.
    `post`: for a result, and one more second for each MiB; doubled after each try that took longer. `start_post`: for
    each of the two posts at the start. `files`: for files that the platform writes when the container runs already.
    `first_delay`, `longest_delay`: between tries. `auth_failure`: of nothing but 401 and 403 to polls, until the
    worker ends. `rejected_result`: of failures of one result while polls succeed, until it counts as rejected.
    `redelivery`: until a job whose poll response was truncated is answered with an error.
    """

    connect: float = 5.0
    poll: float = 30.0
    post: float = 30.0
    start_post: float = 5.0
    schema_patience: float = 5.0
    restart_patience: float = 20.0
    files: float = 60.0
    first_delay: float = 0.2
    longest_delay: float = 5.0
    auth_failure: float = 600.0
    rejected_result: float = 300.0
    redelivery: float = 10.0


def _jitter() -> float:
    return os.urandom(1)[0] / 256  # the random module takes 2 ms to import


class Backoff:
    """Delays in seconds that double from `first` up to `cap`, each shortened at random by up to a half.

    The jitter keeps many replicas from trying at the same moment.
    """

    def __init__(self, first: float, cap: float, jitter: Callable[[], float] = _jitter) -> None:
        self._first = first
        self._cap = cap
        self._jitter = jitter
        self._next = first

    def next(self) -> float:
        """Return the delay after one more failure."""
        delay, self._next = self._next, min(self._cap, self._next * 2)
        return delay * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """Start over after a success."""
        self._next = self._first


_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 300.0


class FailureLog:
    """Logs a recurring failure of one activity: at once, then at growing intervals, then its end."""

    def __init__(self, activity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._activity = activity
        self._clock = clock
        self._message: str | None = None
        self._since = 0.0
        self._next_at = 0.0
        self._pause = _FIRST_PAUSE

    def failed(self, message: str) -> None:
        """Note one more failure."""
        now = self._clock()
        if self._message is None:
            self._since, self._pause = now, _FIRST_PAUSE
        elif message == self._message and now < self._next_at:
            return
        elif message == self._message:
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        self._message = message
        self._next_at = now + self._pause
        log.warning("%s fails: %s; trying again", self._activity, message)

    def recovered(self) -> None:
        """Note a success."""
        if self._message is not None:
            log.info("%s works again after %.1f s", self._activity, self._clock() - self._since)
            self._message = None
