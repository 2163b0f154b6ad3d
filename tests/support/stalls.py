"""Responses that come late, in small pieces, or before the request was read."""

import time
from typing import Final

from tests.support.raw_http import ClientGoneError, HungUp
from tests.support.responses import Behaviour, RequestContext, normal

_LOOK: Final = 0.2
"""Seconds between two looks at whether the client has hung up."""


def repeat_for_ever(part: bytes, *, every: float, first: bytes = b"") -> Behaviour:
    """Send `first`, then `part` every `seconds`, until the client disconnects."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.wire.send(first)
        while True:
            context.wire.send(part)
            _pause(context, every)

    return behave


DRIPPING: Behaviour = repeat_for_ever(b"{", every=8.0, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
"""A response whose body comes one byte every 8 seconds."""

INTERIM: Behaviour = repeat_for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=1.0)
"""Interim responses for ever, and never a final one."""


def answer_without_reading(status: int) -> Behaviour:
    """Respond to the head of a request, read no byte of its body, and keep the connection open."""

    def behave(context: RequestContext) -> None:
        context.respond(status)
        context.stopping.wait()
        raise HungUp

    return behave


def only_for(job_id: str, behaviour: Behaviour) -> Behaviour:
    """Apply `behaviour` to the results of one job and respond normally to all others."""

    def behave(context: RequestContext) -> None:
        (behaviour if context.request.job_id == job_id else normal)(context)

    return behave


def hand_out_again(body: bytes) -> Behaviour:
    """Respond to every poll at once with the same job `j`."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.jobs.known.add("j")
        context.jobs.handed_out.append("j")
        context.respond(200, body, [("Content-Type", "application/json")])

    return behave


def _pause(context: RequestContext, seconds: float) -> None:
    """Wait. Raises ClientGoneError as soon as the client has disconnected."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if context.stopping.wait(min(left, _LOOK)):
            raise HungUp
        if not context.wire.is_alive():
            raise ClientGoneError
