"""The runtime's side of the protocol as a bare ASGI application: four requests, as a worker sends them."""

import asyncio
import hmac
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from cm_exec.local_runtime.core.faults import FaultKind, FaultPlan, ProtocolEndpoint
from cm_exec.local_runtime.core.job import PostOutcome, RuntimeJob, job_body
from cm_exec.local_runtime.http.endpoints import endpoint_of, job_id_of
from cm_exec.local_runtime.http.fault_injection import FaultyRequest, inject_fault
from cm_exec.local_runtime.http.listener import ServerConnection, connection_of
from cm_exec.local_runtime.http.messages import END, RequestBody, send_reply, send_unfinished
from cm_exec.local_runtime.http.open_polls import Found, OpenPolls
from cm_exec.local_runtime.results import ResultSpool


class WorkerSide(Protocol):
    """All of it is called on the event loop's thread, and none of it waits."""

    def hand_out(self) -> RuntimeJob | None:
        """The next job, if one may go out."""

    def put_back(self, job_id: str) -> None:
        """The job did not arrive."""

    def poll_began(self) -> None:
        """A worker asks."""

    def poll_ended(self) -> None:
        """A worker has its answer, or is gone."""

    def result_began(self, job_id: str, *, streamed: bool) -> ResultSpool:
        """A result comes; where its bytes go."""

    def result_ended(self, job_id: str, body: ResultSpool, *, content_type: str | None, streamed: bool) -> PostOutcome:
        """It is there."""

    def result_cut(self, job_id: str, body: ResultSpool) -> None:
        """It broke off."""

    def reply_lost(self, job_id: str) -> None:
        """It is there, and the worker was not told."""

    def too_large(self, job_id: str, size: int) -> None:
        """It was over the limit."""

    def schemas_posted(self, body: bytes, content_type: str | None) -> None:
        """The worker's functions."""

    def restarted(self) -> list[str]:
        """The worker started anew: the jobs that are dropped."""

    def unauthorized(self, endpoint: ProtocolEndpoint) -> None:
        """A request without the right token."""


class ProtocolApi:
    """`poll_wait` is the long poll's length in seconds, `max_result` the largest result in bytes, None for any.

    `tokens` are those that are accepted; `scripted` holds bodies to answer the next polls with, in place of jobs;
    `on_request` is told of each request and its status, 0 where a fault left it unanswered.
    """

    def __init__(
        self,
        side: WorkerSide,
        *,
        tokens: set[bytes],
        poll_wait: float = 5.0,
        max_result: int | None = None,
        faults: FaultPlan | None = None,
        on_request: Callable[[ProtocolEndpoint, int], None] = lambda _endpoint, _status: None,
    ) -> None:
        self.tokens = tokens
        self.poll_wait = poll_wait
        self.faults = faults or FaultPlan()
        self.scripted: deque[bytes] = deque()
        self.polls = OpenPolls(take=self._next, give_back=self._give_back)
        self._side = side
        self._max_result = max_result
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        endpoint = endpoint_of(scope["method"], scope["path"])
        if endpoint is None:
            await send_reply(send, HTTPStatus.NOT_FOUND)
            return
        for fault in self.faults.take(endpoint):
            if fault.kind is FaultKind.LATENCY:
                await asyncio.wait([connection_of(scope).lost], timeout=fault.seconds)
            else:
                status = await inject_fault(fault, endpoint, self._serve, FaultyRequest(scope, receive, send))
                self._on_request(endpoint, status)
                if fault.processed and endpoint is ProtocolEndpoint.RESULT:
                    self._side.reply_lost(job_id_of(scope["raw_path"]))
                return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoint_of(scope["method"], scope["path"])
        if not self._authorized(scope):
            await self._refuse(endpoint or ProtocolEndpoint.POLL, receive, send)
        elif endpoint is ProtocolEndpoint.POLL:
            await self._poll(connection_of(scope), send)
        elif endpoint is ProtocolEndpoint.RESULT:
            await self._result(scope, receive, send)
        elif endpoint is ProtocolEndpoint.SCHEMAS:
            await self._schemas(scope, receive, send)
        else:
            await self._restart(receive, send)

    def _authorized(self, scope: Scope) -> bool:
        given = _header(scope, b"module-auth-token")
        return given is not None and any(hmac.compare_digest(given, token) for token in self.tokens)

    async def _refuse(self, endpoint: ProtocolEndpoint, receive: Receive, send: Send) -> None:
        self._side.unauthorized(endpoint)
        await RequestBody(receive).discard()
        await self._reply(send, endpoint, HTTPStatus.UNAUTHORIZED)

    async def _poll(self, connection: ServerConnection, send: Send) -> None:
        self._side.poll_began()
        try:
            found = await self.polls.next(connection, self.poll_wait)
            if found is None:
                await self._reply(send, ProtocolEndpoint.POLL, HTTPStatus.NO_CONTENT)
            else:
                await self._hand_out(connection, found, send)
        finally:
            self._side.poll_ended()

    async def _hand_out(self, connection: ServerConnection, found: Found, send: Send) -> None:
        self._on_request(ProtocolEndpoint.POLL, HTTPStatus.OK)
        delivered = False
        try:
            pieces = [found] if isinstance(found, bytes) else job_body(found.job_id, found.submission)
            await send_unfinished(send, HTTPStatus.OK, pieces)
            delivered = not connection.gone
            await send(END)
        finally:
            if not delivered:
                self._give_back(found)

    def _next(self) -> Found | None:
        return self.scripted.popleft() if self.scripted else self._side.hand_out()

    def _give_back(self, found: Found) -> None:
        if isinstance(found, bytes):
            self.scripted.appendleft(found)
        else:
            self._side.put_back(found.job_id)
        self.polls.offer()

    async def _result(self, scope: Scope, receive: Receive, send: Send) -> None:
        job_id = job_id_of(scope["raw_path"])
        request = RequestBody(receive)
        declared = _header(scope, b"content-length")
        if declared is not None and self._too_large(int(declared)):
            await self._refuse_too_large(job_id, int(declared), request, send)
            return
        streamed = declared is None
        body = self._side.result_began(job_id, streamed=streamed)
        while piece := await request.read():
            if self._too_large(body.size + len(piece)):
                body.cut_short()
                await self._refuse_too_large(job_id, body.size + len(piece), request, send)
                return
            body.append(piece)
        if request.cut:
            self._side.result_cut(job_id, body)
            return
        outcome = self._side.result_ended(job_id, body, content_type=_content_type(scope), streamed=streamed)
        if connection_of(scope).gone:
            self._side.reply_lost(job_id)
        await self._reply(send, ProtocolEndpoint.RESULT, _STATUS_OF[outcome])

    def _too_large(self, size: int) -> bool:
        return self._max_result is not None and size > self._max_result

    async def _refuse_too_large(self, job_id: str, size: int, request: RequestBody, send: Send) -> None:
        self._side.too_large(job_id, size)
        # Read to the end first: a client that is still sending would see a broken pipe, and no status.
        await request.discard()
        await self._reply(send, ProtocolEndpoint.RESULT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def _schemas(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = RequestBody(receive)
        body = await request.whole()
        if not request.cut:
            self._side.schemas_posted(body, _content_type(scope))
            await self._reply(send, ProtocolEndpoint.SCHEMAS, HTTPStatus.NO_CONTENT)

    async def _restart(self, receive: Receive, send: Send) -> None:
        await RequestBody(receive).discard()
        dropped = self._side.restarted()
        await self._reply(send, ProtocolEndpoint.RESTART, HTTPStatus.OK, msgspec.json.encode(dropped))
        self.polls.offer()

    async def _reply(self, send: Send, endpoint: ProtocolEndpoint, status: HTTPStatus, body: bytes = b"") -> None:
        self._on_request(endpoint, status)
        await send_reply(send, status, body)


_STATUS_OF: Final = {
    PostOutcome.ACCEPTED: HTTPStatus.NO_CONTENT,
    # What the platform answers to these two is not known; a refusal makes the official SDKs post an error over it.
    PostOutcome.REPEATED: HTTPStatus.NO_CONTENT,
    PostOutcome.LATE: HTTPStatus.NO_CONTENT,
    PostOutcome.DROPPED: HTTPStatus.NOT_FOUND,
    PostOutcome.UNKNOWN: HTTPStatus.NOT_FOUND,
}


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for given, value in scope["headers"] if given == name), None)


def _content_type(scope: Scope) -> str | None:
    value = _header(scope, b"content-type")
    return None if value is None else value.decode("latin-1")
