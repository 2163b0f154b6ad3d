"""The requests of workers as ASGI messages, the responses to them, and the faults that let them go wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from cm_exec.local_runtime.core.endpoints import ProtocolDialect
from cm_exec.local_runtime.core.faults import Fault, FaultKind, ProtocolEndpoint
from cm_exec.local_runtime.listener import ServerConnection, connection_of


class RequestBody:
    """`cut` says that the connection ended before the body did."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True
        self.cut = False

    async def read(self) -> bytes:
        """Return the next piece, empty at the end."""
        while self._more:
            message = await self._receive()
            self.cut = message["type"] == "http.disconnect"
            self._more = not self.cut and message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece:
                return piece
        return b""

    async def whole(self) -> bytes:
        """Return the rest of the body."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def discard(self) -> None:
        """Read to the end, and keep nothing."""
        while await self.read():
            pass


Headers = Sequence[tuple[bytes, bytes]]

_NO_CONTENT: Final[Message] = {"type": "http.response.start", "status": 204, "headers": []}
END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}

_WRITE_SIZE: Final = 256 * 1024


async def send_reply(send: Send, status: int, body: bytes = b"", headers: Headers = ()) -> None:
    """Send a whole response."""
    if status == HTTPStatus.NO_CONTENT:
        await send(_NO_CONTENT)
    else:
        await send_unfinished(send, status, [body], headers)
    await send(END)


async def send_unfinished(send: Send, status: int, pieces: Sequence[bytes], headers: Headers = ()) -> None:
    """Send all of a response but its end, which is `END`: time to see whether the client is still there."""
    length = sum(map(len, pieces))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if length <= _WRITE_SIZE:
        await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
        return
    for piece in pieces:
        # One large write would be taken whole by the TLS layer: nobody would wait for the reader, or see it leave.
        for start in range(0, len(piece), _WRITE_SIZE):
            await send({"type": "http.response.body", "body": piece[start : start + _WRITE_SIZE], "more_body": True})
            await asyncio.sleep(0)


@dataclass(slots=True)
class WorkerExchange:
    """One request of a worker, and the way to answer it."""

    dialect: ProtocolDialect
    endpoint: ProtocolEndpoint
    scope: Scope
    receive: Receive
    send: Send
    unheard: bool = False
    """Whether a fault keeps the response from the worker."""
    body: RequestBody = field(init=False)

    def __post_init__(self) -> None:
        self.body = RequestBody(self.receive)

    @property
    def connection(self) -> ServerConnection:
        """The connection that it came over."""
        return connection_of(self.scope)

    @property
    def job_id(self) -> str:
        """The job's id in the path of a posted result, percent-decoded."""
        return self.dialect.job_id_of(self.scope["raw_path"])

    @property
    def raw_job_id(self) -> str:
        """The job's id as in the path."""
        return self.dialect.raw_job_id_of(self.scope["raw_path"])

    @property
    def content_type(self) -> str | None:
        """The type of the body, None if it has none."""
        value = self.header(b"content-type")
        return None if value is None else value.decode("latin-1")

    def header(self, name: bytes) -> bytes | None:
        """Return a header, None if there is none. Names are in lower case."""
        return next((value for given, value in self.scope["headers"] if given == name), None)


async def inject_fault(
    fault: Fault, exchange: WorkerExchange, serve: Callable[[WorkerExchange], Awaitable[None]]
) -> int:
    """Let a request go wrong; `serve` is what would have answered it. Returns the status that was sent, 0 for none."""
    connection = exchange.connection
    if fault.after_bytes is not None:
        limit = _ByteLimit(exchange, fault.after_bytes)
        if exchange.endpoint is ProtocolEndpoint.POLL:  # of a job's body, else of what the worker posts
            await serve(replace(exchange, send=limit.send))
        else:
            await serve(replace(exchange, receive=limit.receive))
        return 0
    if fault.processed:
        await serve(replace(exchange, send=_discard, unheard=True))
    if fault.kind is FaultKind.STATUS:
        if not fault.processed:
            await exchange.body.discard()
        await send_reply(exchange.send, fault.status)
        return fault.status
    if fault.kind is FaultKind.RESET:
        connection.reset()
    elif fault.kind is FaultKind.DROP:
        connection.transport.close()
    await connection.lost
    return 0


class _ByteLimit:
    """Resets the connection after so many bytes."""

    def __init__(self, exchange: WorkerExchange, left: int) -> None:
        self._exchange = exchange
        self._left = left

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < self._left:
            self._left -= len(body)
            await self._exchange.send(message)
            return
        await self._exchange.send({"type": "http.response.body", "body": body[: self._left], "more_body": True})
        await self._trip()

    async def receive(self) -> Message:
        message = await self._exchange.receive()
        self._left -= len(message.get("body", b""))
        if self._left > 0:
            return message
        await self._trip()
        return {"type": "http.disconnect"}

    async def _trip(self) -> None:
        self._exchange.connection.reset()
        await self._exchange.connection.lost


async def _discard(_: Message) -> None:
    pass
