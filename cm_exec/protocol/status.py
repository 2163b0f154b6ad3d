"""The meaning of the runtime's HTTP status codes, as one table."""

from enum import Enum, auto
from http import HTTPStatus
from typing import Final


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
