"""What a runtime may do with a request: as it should, or broken at a chosen place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.support.jobs import JobQueue
from tests.support.ledger import Endpoint, Ledger, Request
from tests.support.wire import ClientGoneError, HungUp, Wire, response

if TYPE_CHECKING:
    from tests.support.jobs import Offer

Behaviour: TypeAlias = "Callable[[Exchange], None]"

TOKEN_HEADER: Final = "module-auth-token"


@dataclass(slots=True, kw_only=True, eq=False)
class Exchange:
    """One request on its connection, its head read and its body not yet."""

    request: Request
    wire: Wire
    ledger: Ledger
    jobs: JobQueue
    tokens: set[str]
    poll_seconds: Callable[[], float]
    stopping: Event
    extra_headers: list[tuple[str, str]] = field(default_factory=list)

    def receive(self, limit: int | None = None) -> None:
        """Read the body, or its first `limit` bytes."""
        self.wire.read_body(self.request.head, self.request.take, limit=limit)
        self.ledger.note(lambda: setattr(self.request, "complete", limit is None))

    def respond(self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        self.conclude(status)
        self.wire.send(response(status, body, [*headers, *self.extra_headers]))

    def conclude(self, status: int | None) -> None:
        """Note the answer. It stands in the ledger before the client can act on it."""
        self.ledger.conclude(self.request, status)

    def is_authorized(self) -> bool:
        return self.request.head.header(TOKEN_HEADER) in self.tokens


def normal(exchange: Exchange) -> None:
    """Answer as the protocol says."""
    if not exchange.is_authorized():
        exchange.receive()
        exchange.respond(401)
    else:
        _NORMAL.get(exchange.request.endpoint, answer(404))(exchange)


def demand_token(token: str) -> Behaviour:
    """Take this token only, whatever the other endpoints take."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        exchange.respond(204 if exchange.request.head.header(TOKEN_HEADER) == token else 401)

    return behave


def answer(status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> Behaviour:
    """Send this answer to every request."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        exchange.respond(status, body, headers)

    return behave


def answer_early(status: int) -> Behaviour:
    """Answer when the first bytes of the body have been read, as a server does that finds a result too large."""

    def behave(exchange: Exchange) -> None:
        exchange.receive(1)
        exchange.respond(status, b"", [("Connection", "close")])
        exchange.wire.discard()
        raise HungUp

    return behave


def reset_before_response(exchange: Exchange) -> None:
    """Read the whole request, then break the connection."""
    exchange.receive()
    raise _reset(exchange)


def reset_within_request(after: int) -> Behaviour:
    """Break the connection after reading `after` bytes of the body."""

    def behave(exchange: Exchange) -> None:
        exchange.receive(after)
        raise _reset(exchange)

    return behave


def reset_within_response(body: bytes, *, sent: int) -> Behaviour:
    """Send a 200 that announces `body`, and break the connection after `sent` bytes of it."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        exchange.conclude(200)
        whole = response(200, body)
        exchange.wire.send(whole[: len(whole) - len(body) + sent])
        raise _reset(exchange)

    return behave


def accept_then_reset(exchange: Exchange) -> None:
    """Accept a result, and break the connection instead of answering."""
    exchange.receive()
    exchange.conclude(204)
    raise _reset(exchange)


def lose_job(exchange: Exchange) -> None:
    """Break the connection in the middle of a poll's answer, and do not hand out the job again."""
    offer = _next_offer(exchange)
    exchange.conclude(200)
    whole = response(200, offer.body)
    exchange.wire.send(whole[: len(whole) - len(offer.body) // 4])
    raise _reset(exchange)


def hang(exchange: Exchange) -> None:
    """Never answer; note when the client gives up."""
    exchange.receive()
    exchange.wire.wait_until_gone()
    exchange.ledger.give_up(exchange.request)
    raise HungUp


def garbage(exchange: Exchange) -> None:
    """Something that is not HTTP."""
    exchange.receive()
    exchange.conclude(None)
    exchange.wire.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\xff\xfe")
    raise HungUp


def stop_reading(after: int) -> Behaviour:
    """Read `after` bytes of the body and then no more, with the connection open."""

    def behave(exchange: Exchange) -> None:
        exchange.receive(after)
        exchange.stopping.wait()
        raise HungUp

    return behave


def read_slowly(part: int, pause: float) -> Behaviour:
    """Read the body `part` bytes at a time with a pause after each, then answer normally."""

    def behave(exchange: Exchange) -> None:
        length = int(exchange.request.head.header("content-length") or 0)
        for start in range(0, length, part):
            exchange.wire.read_exactly(min(part, length - start), exchange.request.take)
            exchange.stopping.wait(pause)
        exchange.ledger.note(lambda: setattr(exchange.request, "complete", True))
        exchange.respond(204)

    return behave


def raw(answer: bytes, *, status: int | None = None, close: bool = False) -> Behaviour:
    """Send these bytes as the answer, and record it as `status`."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        exchange.conclude(status)
        exchange.wire.send(answer)
        if close:
            raise HungUp

    return behave


def flood(line: bytes) -> Behaviour:
    """Send `line` again and again until the client hangs up."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        exchange.wire.send(b"HTTP/1.1 200 OK\r\n")
        while not exchange.stopping.is_set():
            exchange.wire.send(line)

    return behave


def drip(seconds: float) -> Behaviour:
    """Send the normal answer to a poll, one byte every `seconds`."""

    def behave(exchange: Exchange) -> None:
        exchange.receive()
        offer = _next_offer(exchange)
        exchange.conclude(200)
        for byte in response(200, offer.body):
            exchange.wire.send(bytes([byte]))
            exchange.stopping.wait(seconds)

    return behave


def then_close(behaviour: Behaviour, *, announced: bool) -> Behaviour:
    """Close the connection after the answer, with `Connection: close` or without a word."""

    def behave(exchange: Exchange) -> None:
        if announced:
            exchange.extra_headers.append(("Connection", "close"))
        behaviour(exchange)
        raise HungUp

    return behave


def _reset(exchange: Exchange) -> HungUp:
    if not exchange.request.finished:
        exchange.conclude(None)
    exchange.wire.reset()
    return HungUp()


def _next_offer(exchange: Exchange) -> "Offer":
    offer = exchange.jobs.take(lambda: 60.0, exchange.wire.is_alive)
    if offer is None:
        raise ClientGoneError
    return offer


def _job(exchange: Exchange) -> None:
    exchange.receive()
    offer = exchange.jobs.take(exchange.poll_seconds, exchange.wire.is_alive)
    if offer is None:
        exchange.respond(204)
        return
    try:
        exchange.respond(200, offer.body, [("Content-Type", "application/json")])
    except ClientGoneError:
        exchange.jobs.offer(offer, first=True)
        raise


def _result(exchange: Exchange) -> None:
    exchange.receive()
    exchange.respond(204 if exchange.request.job_id in exchange.jobs.known else 404)


def _schema(exchange: Exchange) -> None:
    exchange.receive()
    exchange.respond(204)


def _restart(exchange: Exchange) -> None:
    exchange.receive()
    exchange.respond(200, b"[]", [("Content-Type", "application/json")])


_NORMAL: Final[dict[Endpoint, Behaviour]] = {
    Endpoint.JOB: _job,
    Endpoint.RESULT: _result,
    Endpoint.SCHEMA: _schema,
    Endpoint.RESTART: _restart,
}
