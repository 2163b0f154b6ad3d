"""The behaviours of a runtime: correct ones, and ones that break at a chosen place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.support.jobs import JobQueue
from tests.support.raw_http import ClientGoneError, HungUp, RawConnection, response
from tests.support.request_log import Endpoint, Request, RequestLog

if TYPE_CHECKING:
    from tests.support.jobs import Offer

Behaviour: TypeAlias = "Callable[[RequestContext], None]"

TOKEN_HEADER: Final = "module-auth-token"


@dataclass(slots=True, kw_only=True, eq=False)
class RequestContext:
    """One request on its connection. Its head was read, its body was not."""

    request: Request
    wire: RawConnection
    request_log: RequestLog
    jobs: JobQueue
    tokens: set[str]
    poll_seconds: Callable[[], float]
    stopping: Event
    extra_headers: list[tuple[str, str]] = field(default_factory=list)

    def receive(self, limit: int | None = None) -> None:
        """Read the body, or its first `limit` bytes."""
        self.wire.read_body(self.request.head, self.request.take, limit=limit)
        self.request_log.note(lambda: setattr(self.request, "complete", limit is None))

    def respond(self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        self.conclude(status)
        self.wire.send(response(status, body, [*headers, *self.extra_headers]))

    def conclude(self, status: int | None) -> None:
        """Note the response, so that it is recorded before the client can react to it."""
        self.request_log.conclude(self.request, status)

    def is_authorized(self) -> bool:
        return self.request.head.header(TOKEN_HEADER) in self.tokens


def normal(context: RequestContext) -> None:
    """Respond as the protocol requires."""
    if not context.is_authorized():
        context.receive()
        context.respond(401)
    else:
        _NORMAL.get(context.request.endpoint, answer(404))(context)


def demand_token(token: str) -> Behaviour:
    """Accept only this token, independent of the other endpoints."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.respond(204 if context.request.head.header(TOKEN_HEADER) == token else 401)

    return behave


def answer(status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> Behaviour:
    """Send this response to every request."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.respond(status, body, headers)

    return behave


def answer_early(status: int) -> Behaviour:
    """Respond after the first bytes of the body, as a server does that rejects a large result."""

    def behave(context: RequestContext) -> None:
        context.receive(1)
        context.respond(status, b"", [("Connection", "close")])
        context.wire.discard()
        raise HungUp

    return behave


def reset_before_response(context: RequestContext) -> None:
    """Read the whole request, then break the connection."""
    context.receive()
    raise _reset(context)


def reset_within_request(after: int) -> Behaviour:
    """Break the connection after reading `after` bytes of the body."""

    def behave(context: RequestContext) -> None:
        context.receive(after)
        raise _reset(context)

    return behave


def reset_within_response(body: bytes, *, sent: int) -> Behaviour:
    """Send a 200 that announces `body`, and break the connection after `sent` bytes of it."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.conclude(200)
        whole = response(200, body)
        context.wire.send(whole[: len(whole) - len(body) + sent])
        raise _reset(context)

    return behave


def accept_then_reset(context: RequestContext) -> None:
    """Accept a result, and break the connection instead of responding."""
    context.receive()
    context.conclude(204)
    raise _reset(context)


def lose_job(context: RequestContext) -> None:
    """Break the connection within the response to a poll, and do not deliver the job again."""
    offer = _next_offer(context)
    context.conclude(200)
    whole = response(200, offer.body)
    context.wire.send(whole[: len(whole) - len(offer.body) // 4])
    raise _reset(context)


def hang(context: RequestContext) -> None:
    """Never respond, and note when the client disconnects."""
    context.receive()
    context.wire.wait_until_gone()
    context.request_log.give_up(context.request)
    raise HungUp


def garbage(context: RequestContext) -> None:
    """Send a response that is not HTTP."""
    context.receive()
    context.conclude(None)
    context.wire.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\xff\xfe")
    raise HungUp


def stop_reading(after: int) -> Behaviour:
    """Read `after` bytes of the body and then stop, with the connection open."""

    def behave(context: RequestContext) -> None:
        context.receive(after)
        context.stopping.wait()
        raise HungUp

    return behave


def read_slowly(part: int, pause: float) -> Behaviour:
    """Read the body in parts of `part` bytes with a pause after each, then respond normally."""

    def behave(context: RequestContext) -> None:
        length = int(context.request.head.header("content-length") or 0)
        for start in range(0, length, part):
            context.wire.read_exactly(min(part, length - start), context.request.take)
            context.stopping.wait(pause)
        context.request_log.note(lambda: setattr(context.request, "complete", True))
        context.respond(204)

    return behave


def raw(answer: bytes, *, status: int | None = None, close: bool = False) -> Behaviour:
    """Send these bytes as the response, and record it as `status`."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.conclude(status)
        context.wire.send(answer)
        if close:
            raise HungUp

    return behave


def flood(line: bytes) -> Behaviour:
    """Send `line` repeatedly until the client disconnects."""

    def behave(context: RequestContext) -> None:
        context.receive()
        context.wire.send(b"HTTP/1.1 200 OK\r\n")
        while not context.stopping.is_set():
            context.wire.send(line)

    return behave


def drip(seconds: float) -> Behaviour:
    """Send the normal response to a poll, one byte every `seconds`."""

    def behave(context: RequestContext) -> None:
        context.receive()
        offer = _next_offer(context)
        context.conclude(200)
        for byte in response(200, offer.body):
            context.wire.send(bytes([byte]))
            context.stopping.wait(seconds)

    return behave


def then_close(behaviour: Behaviour, *, announced: bool) -> Behaviour:
    """Close the connection after the response, with or without `Connection: close`."""

    def behave(context: RequestContext) -> None:
        if announced:
            context.extra_headers.append(("Connection", "close"))
        behaviour(context)
        raise HungUp

    return behave


def _reset(context: RequestContext) -> HungUp:
    if not context.request.finished:
        context.conclude(None)
    context.wire.reset()
    return HungUp()


def _next_offer(context: RequestContext) -> "Offer":
    offer = context.jobs.take(lambda: 60.0, context.wire.is_alive)
    if offer is None:
        raise ClientGoneError
    return offer


def _job(context: RequestContext) -> None:
    context.receive()
    offer = context.jobs.take(context.poll_seconds, context.wire.is_alive)
    if offer is None:
        context.respond(204)
        return
    try:
        context.respond(200, offer.body, [("Content-Type", "application/json")])
    except ClientGoneError:
        context.jobs.offer(offer, first=True)
        raise


def _result(context: RequestContext) -> None:
    context.receive()
    context.respond(204 if context.request.job_id in context.jobs.known else 404)


def _schema(context: RequestContext) -> None:
    context.receive()
    context.respond(204)


def _restart(context: RequestContext) -> None:
    context.receive()
    context.respond(200, b"[]", [("Content-Type", "application/json")])


_NORMAL: Final[dict[Endpoint, Behaviour]] = {
    Endpoint.JOB: _job,
    Endpoint.RESULT: _result,
    Endpoint.SCHEMA: _schema,
    Endpoint.RESTART: _restart,
}
