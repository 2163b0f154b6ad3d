"""The runtime's side of the protocol as a bare ASGI application: four requests, as a worker sends them."""

import asyncio
import hmac
import urllib.parse
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from starlette.types import Message, Receive, Scope, Send

from cm_exec.dev.breach import BreachKind
from cm_exec.dev.fault import Endpoint, Fault, FaultKind, FaultPlan
from cm_exec.dev.job import Job, Reception
from cm_exec.dev.job_body import job_body
from cm_exec.dev.listener import Connection, connection_of
from cm_exec.dev.request_body import RequestBody
from cm_exec.dev.spool import Spool

ROOT: Final = "/interactive-module/api/internal-query"
JOB_PATH: Final = f"{ROOT}/job"
RESULTS_PATH: Final = f"{ROOT}/results"
SCHEMAS_PATH: Final = f"{ROOT}/schemas"
RESTART_PATH: Final = f"{ROOT}/restart-notify"

_NO_CONTENT: Final[Message] = {"type": "http.response.start", "status": 204, "headers": []}
_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_JSON: Final = (b"content-type", b"application/json")


class Books(Protocol):
    """What the application needs of the runtime."""

    def hand_out(self) -> Job | None:
        """The next job, if one may go out."""

    def put_back(self, job_id: str) -> None:
        """The job did not arrive."""

    def poll_began(self) -> None:
        """A worker asks."""

    def poll_ended(self) -> None:
        """A worker has its answer, or is gone."""

    def result_began(self, job_id: str, *, streamed: bool) -> Spool:
        """A result comes; where its bytes go."""

    def result_ended(self, job_id: str, body: Spool, *, content_type: str | None, streamed: bool) -> Reception:
        """It is there."""

    def result_cut(self, job_id: str, body: Spool, kind: BreachKind) -> None:
        """It will not be there whole."""

    def too_large(self, job_id: str, size: int) -> None:
        """It was over the limit."""

    def schemas_posted(self, body: bytes, content_type: str | None) -> None:
        """The worker's functions."""

    def restarted(self) -> list[str]:
        """The worker started anew: the jobs that are dropped."""

    def unauthorized(self, endpoint: Endpoint) -> None:
        """A request without the right token."""


@dataclass(slots=True)
class ProtocolApi:
    """`poll_wait` is the long poll's length in seconds, `max_result` the largest result in bytes, None for any."""

    books: Books
    tokens: set[bytes]
    poll_wait: float = 5.0
    max_result: int | None = None
    faults: FaultPlan = field(default_factory=FaultPlan)
    on_request: Callable[[Endpoint, int], None] = lambda _endpoint, _status: None
    scripted: deque[bytes] = field(default_factory=deque)
    """Bodies to answer the next polls with, in place of jobs."""
    _waiting: deque[asyncio.Future[Job | bytes | None]] = field(default_factory=deque)
    _stopping: bool = False

    @property
    def open_polls(self) -> int:
        """How many polls wait for a job."""
        return sum(not waiting.done() for waiting in self._waiting)

    def offer(self) -> None:
        """Give jobs to the polls that wait. To be called whenever there may be one."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            found = self._next()
            if found is None:
                return
            self._waiting.popleft().set_result(found)

    def stop(self) -> None:
        """Answer the open polls, and later ones at once."""
        self._stopping = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def start(self) -> None:
        """Let polls wait (again)."""
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        endpoint = _endpoint(scope["method"], scope["path"])
        if endpoint is None:
            await _status(send, HTTPStatus.NOT_FOUND)
            return
        for fault in self.faults.take(endpoint):
            if fault.kind is FaultKind.LATENCY:
                await asyncio.wait([connection_of(scope).lost], timeout=fault.seconds)
            else:
                await self._go_wrong(fault, endpoint, scope, receive, send)
                return
        await self._serve(endpoint, scope, receive, send)

    async def _serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._authorized(scope):
            self.books.unauthorized(endpoint)
            self.on_request(endpoint, HTTPStatus.UNAUTHORIZED)
            await _status(send, HTTPStatus.UNAUTHORIZED)
        elif endpoint is Endpoint.POLL:
            await self._poll(connection_of(scope), send)
        elif endpoint is Endpoint.RESULT:
            await self._result(scope, receive, send)
        elif endpoint is Endpoint.SCHEMAS:
            await self._schemas(scope, receive, send)
        else:
            await self._restart(receive, send)

    def _authorized(self, scope: Scope) -> bool:
        given = _header(scope, b"module-auth-token")
        return given is not None and any(hmac.compare_digest(given, token) for token in self.tokens)

    # Polls

    async def _poll(self, connection: Connection, send: Send) -> None:
        self.books.poll_began()
        try:
            found = self._next() or await self._wait_for_job(connection)
            await self._answer_poll(connection, found, send)
        finally:
            self.books.poll_ended()

    async def _answer_poll(self, connection: Connection, found: Job | bytes | None, send: Send) -> None:
        if found is None:
            self.on_request(Endpoint.POLL, HTTPStatus.NO_CONTENT)
            await send(_NO_CONTENT)
            await send(_END)
            return
        self.on_request(Endpoint.POLL, HTTPStatus.OK)
        delivered = False
        try:
            pieces = [found] if isinstance(found, bytes) else job_body(found.job_id, found.submission)
            await _send_pieces(send, pieces, HTTPStatus.OK)
            delivered = not connection.gone
            await send(_END)
        finally:
            if not delivered:
                self._give_back(found)

    async def _wait_for_job(self, connection: Connection) -> Job | bytes | None:
        if self._stopping:
            return None
        waiting: asyncio.Future[Job | bytes | None] = connection.loop.create_future()
        self._waiting.append(waiting)

        def give_up(_: object = None) -> None:
            if not waiting.done():
                waiting.set_result(None)

        connection.lost.add_done_callback(give_up)
        timer = connection.loop.call_later(self.poll_wait, give_up)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._give_back(waiting.result())
            raise
        finally:
            timer.cancel()
            connection.lost.remove_done_callback(give_up)

    def _next(self) -> Job | bytes | None:
        return self.scripted.popleft() if self.scripted else self.books.hand_out()

    def _give_back(self, found: Job | bytes | None) -> None:
        if isinstance(found, bytes):
            self.scripted.appendleft(found)
        elif found is not None:
            self.books.put_back(found.job_id)
        self.offer()

    # Results

    async def _result(self, scope: Scope, receive: Receive, send: Send) -> None:
        job_id = _job_id(scope)
        request = RequestBody(receive)
        declared = _header(scope, b"content-length")
        if declared is not None and self._too_large(int(declared)):
            await self._refuse_too_large(job_id, int(declared), request, send)
            return
        content_type, streamed = _content_type(scope), declared is None
        body = self.books.result_began(job_id, streamed=streamed)
        while piece := await request.read():
            if self._too_large(body.size + len(piece)):
                self.books.result_cut(job_id, body, BreachKind.TOO_LARGE)
                await self._refuse_too_large(job_id, body.size + len(piece), request, send)
                return
            body.append(piece)
        if request.cut:
            self.books.result_cut(job_id, body, BreachKind.TRUNCATED)
            return
        reception = self.books.result_ended(job_id, body, content_type=content_type, streamed=streamed)
        status = _RECEPTION[reception]
        self.on_request(Endpoint.RESULT, status)
        await _status(send, status)

    def _too_large(self, size: int) -> bool:
        return self.max_result is not None and size > self.max_result

    async def _refuse_too_large(self, job_id: str, size: int, request: RequestBody, send: Send) -> None:
        self.books.too_large(job_id, size)
        self.on_request(Endpoint.RESULT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        # Read to the end first: a client that is still sending would see a broken pipe, and no status.
        await request.discard()
        await _status(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    # The other two

    async def _schemas(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = RequestBody(receive)
        body = await request.whole()
        if request.cut:
            return
        self.books.schemas_posted(body, _content_type(scope))
        self.on_request(Endpoint.SCHEMAS, HTTPStatus.NO_CONTENT)
        await _status(send, HTTPStatus.NO_CONTENT)

    async def _restart(self, receive: Receive, send: Send) -> None:
        await RequestBody(receive).discard()
        dropped = self.books.restarted()
        self.on_request(Endpoint.RESTART, HTTPStatus.OK)
        await _send_body(send, msgspec.json.encode(dropped))
        self.offer()

    # Faults

    async def _go_wrong(self, fault: Fault, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        connection = connection_of(scope)
        if fault.after_bytes is not None:
            await self._break_midway(fault.after_bytes, endpoint, scope, receive, send)
            return
        if fault.processed:
            await self._serve(endpoint, scope, receive, _nowhere)
        elif endpoint is not Endpoint.POLL and fault.kind is FaultKind.STATUS:
            await RequestBody(receive).discard()
        if fault.kind is FaultKind.STATUS:
            self.on_request(endpoint, fault.status)
            await _status(send, fault.status, fault.body)
            return
        self.on_request(endpoint, 0)
        if fault.kind is FaultKind.RESET:
            connection.reset()
        elif fault.kind is FaultKind.DROP:
            connection.transport.close()
        await connection.lost

    async def _break_midway(
        self, after_bytes: int, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = connection_of(scope)
        left = after_bytes

        async def send_some(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and len(body) >= left:
                await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                connection.reset()
                await connection.lost
            else:
                left -= len(body)
                await send(message)

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left <= 0 and endpoint is not Endpoint.POLL:
                connection.reset()
                await connection.lost
                return {"type": "http.disconnect"}
            return message

        await self._serve(endpoint, scope, receive_some, send_some if endpoint is Endpoint.POLL else send)


_RECEPTION: Final = {
    Reception.ACCEPTED: HTTPStatus.NO_CONTENT,
    # What the platform answers to these two is not known; a refusal makes the official SDKs post an error over it.
    Reception.REPEATED: HTTPStatus.NO_CONTENT,
    Reception.LATE: HTTPStatus.NO_CONTENT,
    Reception.DROPPED: HTTPStatus.NOT_FOUND,
    Reception.UNKNOWN: HTTPStatus.NOT_FOUND,
}


def _endpoint(method: str, path: str) -> Endpoint | None:
    if method == "GET":
        return Endpoint.POLL if path == JOB_PATH else None
    if method != "POST":
        return None
    if path.startswith(f"{RESULTS_PATH}/"):
        return Endpoint.RESULT
    return {SCHEMAS_PATH: Endpoint.SCHEMAS, RESTART_PATH: Endpoint.RESTART}.get(path)


def _job_id(scope: Scope) -> str:
    raw: bytes = scope["raw_path"]
    return urllib.parse.unquote(raw[len(RESULTS_PATH) + 1 :].decode("ascii"))


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for given, value in scope["headers"] if given == name), None)


def _content_type(scope: Scope) -> str | None:
    value = _header(scope, b"content-type")
    return None if value is None else value.decode("latin-1")


async def _status(send: Send, status: int, body: bytes = b"") -> None:
    if not body and status == HTTPStatus.NO_CONTENT:
        await send(_NO_CONTENT)
        await send(_END)
        return
    await _send_body(send, body, status=status)


async def _send_body(send: Send, body: bytes, *, status: int = HTTPStatus.OK) -> None:
    await _send_pieces(send, [body], status)
    await send(_END)


async def _send_pieces(send: Send, pieces: Sequence[bytes], status: int) -> None:
    length = sum(map(len, pieces))
    headers = [_JSON, (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if length <= _WRITE:
        await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
        return
    for piece in pieces:
        # One large write would be taken whole by the TLS layer: nobody would wait for the reader, or see it leave.
        for start in range(0, len(piece), _WRITE):
            await send({"type": "http.response.body", "body": piece[start : start + _WRITE], "more_body": True})
            await asyncio.sleep(0)


_WRITE: Final = 256 * 1024


async def _nowhere(_: Message) -> None:
    pass
