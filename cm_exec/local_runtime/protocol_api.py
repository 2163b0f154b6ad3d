"""Serve the protocol's four requests to workers, as a bare ASGI application, with the polls that wait for a job."""

import asyncio
import hmac
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core import PostOutcome, RuntimeJob, endpoints, job_body
from cm_exec.local_runtime.core.endpoints import ProtocolDialect
from cm_exec.local_runtime.core.faults import Fault, FaultKind, FaultPlan, ProtocolEndpoint
from cm_exec.local_runtime.core.worker_status import ViolationKind
from cm_exec.local_runtime.exchange import (
    END,
    RequestBody,
    WorkerExchange,
    inject_fault,
    send_reply,
    send_unfinished,
)
from cm_exec.local_runtime.listener import ServerConnection
from cm_exec.local_runtime.worker_files import WorkerFiles

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

        give_up = partial(_give_up, waiting)
        connection.lost.add_done_callback(give_up)
        timer = connection.loop.call_later(longest, give_up)
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() and (found := waiting.result()) is not None:
                self.give_back(found)  # it was found in the same moment
            raise
        finally:
            timer.cancel()
            connection.lost.remove_done_callback(give_up)


def _give_up(waiting: asyncio.Future[Found | None], _: object = None) -> None:
    if not waiting.done():
        waiting.set_result(None)


_REQUESTS_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRequest:
    """A request of a worker. `at` in seconds since the epoch; `status` is 0 where a fault left it unanswered."""

    at: float
    endpoint: ProtocolEndpoint
    status: int


class ProtocolApi:
    """Serves workers; `application` gives the ASGI application for one of the protocol's two APIs.

    `files` have the first token. `poll_wait` is the long poll's length in seconds, `max_result` the largest result in
    bytes, None for no limit. `requests` are the last ones, the oldest first.
    """

    def __init__(
        self,
        broker: Broker,
        files: WorkerFiles,
        *,
        poll_wait: float,
        max_result: int | None,
        faults: Sequence[Fault],
    ) -> None:
        self.token = files.identity.token
        self._tokens = {self.token.encode()}
        self._earlier_tokens: set[bytes] = set()
        self.poll_wait = poll_wait
        self.faults = FaultPlan([*faults])
        self.requests: deque[WorkerRequest] = deque(maxlen=_REQUESTS_KEPT)
        self._scripted: deque[bytes] = deque()
        self.polls = OpenPolls(take=self._next, give_back=self._give_back)
        self._broker = broker
        broker.on_slot_free = self.polls.offer
        self._token_path = str(files.token_file)
        self._max_result = max_result

    def replace_token(self, token: str, *, accept_old: bool) -> None:
        """Accept this token from now on, and the former ones only if that is wanted."""
        self._earlier_tokens.add(self.token.encode())
        self.token = token
        self._tokens = {token.encode(), *(self._tokens if accept_old else ())}

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
            if scope["type"] != "http":
                return
            endpoint = dialect.endpoint_of(scope["method"], scope["path"])
            if endpoint is None:
                await self._refuse_address(dialect, scope, receive, send)
            else:
                await self._serve_or_fail(WorkerExchange(dialect, endpoint, scope, receive, send))

        return serve

    async def _refuse_address(self, dialect: ProtocolDialect, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is none of the protocol's with the nearest right one."""
        path = scope["path"]
        sentence, method = endpoints.wrong_address(scope["method"], path, dialect.known_beside(path))
        self._broker.diagnosed(ViolationKind.CONNECTION, sentence)
        await RequestBody(receive).discard()
        status = HTTPStatus.METHOD_NOT_ALLOWED if method else HTTPStatus.NOT_FOUND
        headers = [(b"allow", method.encode())] if method else []
        await send_reply(send, status, endpoints.error_body(sentence), headers)

    async def _serve_or_fail(self, exchange: WorkerExchange) -> None:
        for fault in self.faults.take(exchange.endpoint):
            if fault.kind is FaultKind.LATENCY:
                await asyncio.wait([exchange.connection.lost], timeout=fault.seconds)
                continue
            self._note(exchange, await inject_fault(fault, exchange, self._serve))
            if fault.processed and exchange.endpoint is ProtocolEndpoint.RESULT:
                self._broker.ledger.reply_lost(exchange.job_id)
            return
        await self._serve(exchange)

    async def _serve(self, exchange: WorkerExchange) -> None:
        if not self._authorized(exchange):
            headers = dict(exchange.scope["headers"])
            sentence = endpoints.wrong_token(headers, path=self._token_path, earlier=self._earlier_tokens)
            refused = f"a {exchange.endpoint} request was refused: {sentence}"
            self._broker.diagnosed(ViolationKind.UNAUTHORIZED, refused)
            await self._refuse(exchange, HTTPStatus.UNAUTHORIZED, sentence)
            return
        match exchange.endpoint:
            case ProtocolEndpoint.POLL:
                await self._poll(exchange)
            case ProtocolEndpoint.RESULT:
                await self._result(exchange)
            case ProtocolEndpoint.SCHEMAS:
                await self._schemas(exchange)
            case ProtocolEndpoint.RESTART:
                await self._restart(exchange)

    def _authorized(self, exchange: WorkerExchange) -> bool:
        if not exchange.dialect.needs_token(exchange.scope["path"]):
            return True
        given = exchange.header(b"module-auth-token")
        return given is not None and any(hmac.compare_digest(given, token) for token in self._tokens)

    async def _poll(self, exchange: WorkerExchange) -> None:
        self._broker.poll_began()
        try:
            found = await self.polls.next(exchange.connection, self.poll_wait)
            if found is None:
                await self._reply(exchange, HTTPStatus.NO_CONTENT)
            else:
                await self._hand_out(exchange, found)
        finally:
            self._broker.poll_ended()

    async def _hand_out(self, exchange: WorkerExchange, found: Found) -> None:
        self._note(exchange, HTTPStatus.OK)
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
            self._broker.ledger.put_back(found.job_id)
        self.polls.offer()

    async def _result(self, exchange: WorkerExchange) -> None:
        if (sentence := endpoints.wrong_job_id(exchange.raw_job_id)) is not None:
            sentence = f"POST {exchange.scope['path']}: {sentence}"
            self._broker.diagnosed(ViolationKind.CONNECTION, sentence)
            await self._refuse(exchange, HTTPStatus.NOT_FOUND, sentence)
            return
        job_id = exchange.job_id
        length = exchange.header(b"content-length")
        if length is not None and self._too_large(int(length)):
            await self._refuse_too_large(exchange, int(length))
            return
        body = self._broker.result_began(job_id, streamed=length is None)
        while piece := await exchange.body.read():
            if self._too_large(body.size + len(piece)):
                await self._refuse_too_large(exchange, body.size + len(piece))
                return
            body.append(piece)
        if exchange.body.cut:
            self._broker.result_cut(job_id, body)
            return
        outcome = self._broker.result_ended(job_id, body, content_type=exchange.content_type, streamed=length is None)
        if exchange.connection.gone:
            self._broker.ledger.reply_lost(job_id)
        await self._reply_to_result(exchange, outcome)

    async def _reply_to_result(self, exchange: WorkerExchange, outcome: PostOutcome) -> None:
        """Accept repeated and late results: a refusal makes the official SDKs post an error over them."""
        if outcome is PostOutcome.UNKNOWN:
            sentence = "no job with this id was handed out; post to POST_RESULT_URI, a slash and the job's jobId"
            await self._refuse(exchange, HTTPStatus.NOT_FOUND, sentence)
        elif outcome is PostOutcome.DROPPED:
            sentence = "the job was dropped by a restart notification, or with its worker's process"
            await self._refuse(exchange, HTTPStatus.NOT_FOUND, sentence)
        else:
            await self._reply(exchange, exchange.dialect.accepted)

    def _too_large(self, size: int) -> bool:
        return self._max_result is not None and size > self._max_result

    async def _refuse_too_large(self, exchange: WorkerExchange, size: int) -> None:
        self._broker.too_large(exchange.job_id, size)
        sentence = f"the result is larger than {self._max_result} bytes"
        await self._refuse(exchange, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)

    async def _schemas(self, exchange: WorkerExchange) -> None:
        body = await exchange.body.whole()
        if not exchange.body.cut:
            self._broker.schemas_posted(body, exchange.content_type)
            await self._reply(exchange, exchange.dialect.accepted)

    async def _restart(self, exchange: WorkerExchange) -> None:
        await exchange.body.discard()
        dropped = self._broker.restarted()
        await self._reply(exchange, HTTPStatus.OK, msgspec.json.encode(dropped))
        self.polls.offer()

    async def _refuse(self, exchange: WorkerExchange, status: int, sentence: str) -> None:
        await exchange.body.discard()  # a client that is still sending would see a broken pipe, and no status
        await self._reply(exchange, status, endpoints.error_body(sentence))

    async def _reply(self, exchange: WorkerExchange, status: int, body: bytes = b"") -> None:
        if not exchange.unheard:
            self._note(exchange, status)
        await send_reply(exchange.send, status, body)

    def _note(self, exchange: WorkerExchange, status: int) -> None:
        self.requests.append(WorkerRequest(at=self._broker.clock(), endpoint=exchange.endpoint, status=status))
