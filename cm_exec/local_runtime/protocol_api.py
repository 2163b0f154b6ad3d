"""Serve the protocol's four requests to workers, as a bare ASGI application, with the polls that wait for a job."""

import asyncio
import hmac
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from cm_exec.local_runtime.answers import (
    END,
    FaultyRequest,
    RequestBody,
    inject_fault,
    send_reply,
    send_unfinished,
)
from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core import endpoints
from cm_exec.local_runtime.core.endpoints import ProtocolDialect
from cm_exec.local_runtime.core.faults import FaultKind, FaultPlan, ProtocolEndpoint
from cm_exec.local_runtime.core.job import PostOutcome, RuntimeJob, job_body
from cm_exec.local_runtime.core.worker_status import ViolationKind
from cm_exec.local_runtime.listener import ServerConnection, connection_of

Found = RuntimeJob | bytes
"""What a poll is answered with: a job, or a body as it stands."""


_HELD_POLL = 0.05
"""Seconds that a poll takes while jobs are held: a worker that has yet to take its SIGTERM comes again soon."""


@dataclass(slots=True)
class OpenPolls:
    """`take` gives the next answer, if there is one, and `give_back` takes one that did not arrive."""

    take: Callable[[], Found | None]
    give_back: Callable[[Found], None]
    _waiting: deque[asyncio.Future[Found | None]] = field(default_factory=deque)
    _stopped: bool = False
    _held: bool = False

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(not waiting.done() for waiting in self._waiting)

    def offer(self) -> None:
        """Give what there is to those who wait. To be called whenever there may be something."""
        while self._waiting and not self._held:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            found = self.take()
            if found is None:
                return
            self._waiting.popleft().set_result(found)

    def stop(self) -> None:
        """Answer all who wait, and all who come, with nothing."""
        self._stopped = True
        self._send_away()

    def start(self) -> None:
        """Let polls wait (again)."""
        self._stopped = False

    def hold(self) -> None:
        """Answer all who wait with nothing, and keep what there is for later."""
        self._held = True
        self._send_away()

    def release(self) -> None:
        """Give what was held."""
        self._held = False
        self.offer()

    def _send_away(self) -> None:
        while self._waiting:
            _give_up(self._waiting.popleft())

    async def next(self, connection: ServerConnection, longest: float) -> Found | None:
        """Return the answer to a poll: None after `longest` seconds, or when its connection is gone."""
        found = None if self._held else self.take()
        if found is not None or self._stopped:
            return found
        longest = min(longest, _HELD_POLL) if self._held else longest
        waiting: asyncio.Future[Found | None] = connection.loop.create_future()
        self._waiting.append(waiting)

        def give_up(_: object = None) -> None:
            _give_up(waiting)

        connection.lost.add_done_callback(give_up)
        timer = connection.loop.call_later(longest, give_up)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._save(waiting)
            raise
        finally:
            timer.cancel()
            connection.lost.remove_done_callback(give_up)

    def _save(self, waiting: asyncio.Future[Found | None]) -> None:
        """Nobody is there to take what was found in the same moment."""
        found = None if waiting.cancelled() or not waiting.done() else waiting.result()
        if found is not None:
            self.give_back(found)


def _give_up(waiting: asyncio.Future[Found | None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class ProtocolApi:
    """Serves workers; `application` gives the ASGI application for one of the protocol's two APIs.

    `poll_wait` is the long poll's length in seconds, `max_result` the largest result in bytes, None for no limit.
    `tokens` are accepted, `earlier_tokens` were once; `token_path` is the file that holds the token. `on_request` is
    called with each request and its status, 0 where a fault left it unanswered.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        token: str,
        token_path: Path,
        poll_wait: float = 5.0,
        max_result: int | None = None,
        faults: FaultPlan | None = None,
        on_request: Callable[[ProtocolEndpoint, int], None] = lambda _endpoint, _status: None,
    ) -> None:
        self.tokens = {token.encode()}
        self.earlier_tokens: set[bytes] = set()
        self.poll_wait = poll_wait
        self.faults = faults or FaultPlan()
        self._scripted: deque[bytes] = deque()
        self.polls = OpenPolls(take=self._next, give_back=self._give_back)
        self._broker = broker
        self._token_path = str(token_path)
        self._max_result = max_result
        self._on_request = on_request

    def script(self, body: bytes) -> None:
        """Answer one poll with this body, whether it is a job or not."""
        self._scripted.append(body)
        self.polls.offer()

    def hold(self) -> None:
        """Hand out no jobs for now, and answer the open polls."""
        self._broker.hold()
        self.polls.hold()

    def release(self) -> None:
        """Hand out jobs again."""
        self._broker.release()
        self.polls.release()

    def application(self, dialect: ProtocolDialect) -> ASGIApp:
        """Return the ASGI application for one API."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                endpoint = dialect.endpoint_of(scope["method"], scope["path"])
                await self._serve_or_fail(_WorkerExchange(dialect, endpoint, scope, receive, send))

        return serve

    async def _serve_or_fail(self, exchange: "_WorkerExchange") -> None:
        endpoint = exchange.endpoint
        if endpoint is None:
            await self._refuse_address(exchange)
            return
        for fault in self.faults.take(endpoint):
            if fault.kind is FaultKind.LATENCY:
                await asyncio.wait([exchange.connection.lost], timeout=fault.seconds)
                continue
            serve = partial(self._serve_with, replace(exchange, unheard=fault.processed))
            request = FaultyRequest(exchange.scope, exchange.receive, exchange.send)
            status = await inject_fault(fault, endpoint, serve, request)
            self._on_request(endpoint, status)
            if fault.processed and endpoint is ProtocolEndpoint.RESULT:
                self._broker.reply_lost(exchange.job_id)
            return
        await self._serve(exchange)

    async def _serve_with(self, exchange: "_WorkerExchange", scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(replace(exchange, scope=scope, receive=receive, send=send))

    async def _serve(self, exchange: "_WorkerExchange") -> None:
        if not self._authorized(exchange):
            await self._refuse_token(exchange)
        elif exchange.endpoint is ProtocolEndpoint.POLL:
            await self._poll(exchange)
        elif exchange.endpoint is ProtocolEndpoint.RESULT:
            await self._result(exchange)
        elif exchange.endpoint is ProtocolEndpoint.SCHEMAS:
            await self._schemas(exchange)
        else:
            await self._restart(exchange)

    def _authorized(self, exchange: "_WorkerExchange") -> bool:
        if not exchange.dialect.needs_token(exchange.scope["path"]):
            return True
        given = exchange.header(b"module-auth-token")
        return given is not None and any(hmac.compare_digest(given, token) for token in self.tokens)

    async def _refuse_token(self, exchange: "_WorkerExchange") -> None:
        headers = dict(exchange.scope["headers"])
        sentence = endpoints.wrong_token(headers, path=self._token_path, earlier=self.earlier_tokens)
        endpoint = exchange.endpoint or ProtocolEndpoint.POLL
        self._broker.diagnosed(ViolationKind.UNAUTHORIZED, f"a {endpoint} request was refused: {sentence}")
        await RequestBody(exchange.receive).discard()
        await self._reply(exchange, HTTPStatus.UNAUTHORIZED, endpoints.error_body(sentence))

    async def _refuse_address(self, exchange: "_WorkerExchange") -> None:
        """Answer a request that is none of the protocol's with the nearest right one."""
        path = exchange.scope["path"]
        sentence, method = endpoints.wrong_address(exchange.scope["method"], path, exchange.dialect.known_beside(path))
        self._broker.diagnosed(ViolationKind.CONNECTION, sentence)
        await RequestBody(exchange.receive).discard()
        status = HTTPStatus.METHOD_NOT_ALLOWED if method else HTTPStatus.NOT_FOUND
        headers = [(b"allow", method.encode())] if method else []
        await send_reply(exchange.send, status, endpoints.error_body(sentence), headers)

    async def _poll(self, exchange: "_WorkerExchange") -> None:
        self._broker.poll_began()
        try:
            found = await self.polls.next(exchange.connection, self.poll_wait)
            if found is None:
                await self._reply(exchange, HTTPStatus.NO_CONTENT)
            else:
                await self._hand_out(exchange, found)
        finally:
            self._broker.poll_ended()

    async def _hand_out(self, exchange: "_WorkerExchange", found: Found) -> None:
        self._on_request(ProtocolEndpoint.POLL, HTTPStatus.OK)
        delivered = False
        try:
            if isinstance(found, bytes):
                pieces: Sequence[bytes] = [found]
            else:
                pieces = job_body(found.job_id, found.submission, enveloped=not exchange.dialect.plain)
            await send_unfinished(exchange.send, HTTPStatus.OK, pieces)
            delivered = not exchange.connection.gone
            await exchange.send(END)
        finally:
            if not delivered:
                self._give_back(found)

    def _next(self) -> Found | None:
        return self._scripted.popleft() if self._scripted else self._broker.hand_out()

    def _give_back(self, found: Found) -> None:
        if isinstance(found, bytes):
            self._scripted.appendleft(found)
        else:
            self._broker.put_back(found.job_id)
        self.polls.offer()

    async def _result(self, exchange: "_WorkerExchange") -> None:
        if (sentence := endpoints.wrong_job_id(exchange.raw_job_id)) is not None:
            sentence = f"POST {exchange.scope['path']}: {sentence}"
            self._broker.diagnosed(ViolationKind.CONNECTION, sentence)
            await RequestBody(exchange.receive).discard()
            await self._reply(exchange, HTTPStatus.NOT_FOUND, endpoints.error_body(sentence))
            return
        job_id = exchange.job_id
        length = exchange.header(b"content-length")
        request = RequestBody(exchange.receive)
        if length is not None and self._too_large(int(length)):
            await self._refuse_too_large(exchange, job_id, int(length), request)
            return
        body = self._broker.result_began(job_id, streamed=length is None)
        while piece := await request.read():
            if self._too_large(body.size + len(piece)):
                await self._refuse_too_large(exchange, job_id, body.size + len(piece), request)
                return
            body.append(piece)
        if request.cut:
            self._broker.result_cut(job_id, body)
            return
        outcome = self._broker.result_ended(job_id, body, content_type=exchange.content_type, streamed=length is None)
        if exchange.connection.gone:
            self._broker.reply_lost(job_id)
        await self._reply_to_result(exchange, outcome)

    async def _reply_to_result(self, exchange: "_WorkerExchange", outcome: PostOutcome) -> None:
        """Accept repeated and late results: a refusal makes the official SDKs post an error over them."""
        if outcome is PostOutcome.UNKNOWN:
            sentence = "no job with this id was handed out; post to POST_RESULT_URI, a slash and the job's jobId"
            await self._reply(exchange, HTTPStatus.NOT_FOUND, endpoints.error_body(sentence))
        elif outcome is PostOutcome.DROPPED:
            sentence = "the job was dropped by a restart notification, or with its worker's process"
            await self._reply(exchange, HTTPStatus.NOT_FOUND, endpoints.error_body(sentence))
        else:
            await self._reply(exchange, exchange.dialect.accepted)

    def _too_large(self, size: int) -> bool:
        return self._max_result is not None and size > self._max_result

    async def _refuse_too_large(
        self, exchange: "_WorkerExchange", job_id: str, size: int, request: RequestBody
    ) -> None:
        self._broker.too_large(job_id, size)
        # Read to the end first: a client that is still sending would see a broken pipe, and no status.
        await request.discard()
        sentence = f"the result is larger than {self._max_result} bytes"
        await self._reply(exchange, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, endpoints.error_body(sentence))

    async def _schemas(self, exchange: "_WorkerExchange") -> None:
        request = RequestBody(exchange.receive)
        body = await request.whole()
        if not request.cut:
            self._broker.schemas_posted(body, exchange.content_type)
            await self._reply(exchange, exchange.dialect.accepted)

    async def _restart(self, exchange: "_WorkerExchange") -> None:
        await RequestBody(exchange.receive).discard()
        dropped = self._broker.restarted()
        await self._reply(exchange, HTTPStatus.OK, msgspec.json.encode(dropped))
        self.polls.offer()

    async def _reply(self, exchange: "_WorkerExchange", status: int, body: bytes = b"") -> None:
        if not exchange.unheard:
            self._on_request(exchange.endpoint or ProtocolEndpoint.POLL, status)
        await send_reply(exchange.send, status, body)


@dataclass(frozen=True, slots=True)
class _WorkerExchange:
    """One request of a worker, and the way to answer it."""

    dialect: ProtocolDialect
    endpoint: ProtocolEndpoint | None
    scope: Scope
    receive: Receive
    send: Send
    unheard: bool = False
    """Whether a fault keeps the response from the worker."""

    @property
    def connection(self) -> ServerConnection:
        return connection_of(self.scope)

    @property
    def job_id(self) -> str:
        return self.dialect.job_id_of(self.scope["raw_path"])

    @property
    def raw_job_id(self) -> str:
        return self.dialect.raw_job_id_of(self.scope["raw_path"])

    @property
    def content_type(self) -> str | None:
        value = self.header(b"content-type")
        return None if value is None else value.decode("latin-1")

    def header(self, name: bytes) -> bytes | None:
        return next((value for given, value in self.scope["headers"] if given == name), None)
