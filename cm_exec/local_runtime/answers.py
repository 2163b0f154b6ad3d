"""Requests and responses of both ports as ASGI messages, and the faults that let them go wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cm_exec.local_runtime.call import CHUNK, ResultSpool
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


BY_PROGRAM: Final = "cm_exec.by_program"
"""In the scope of a request: whether a program sent it, which gets results under their own media type."""
NO_STORE: Final = (b"cache-control", b"no-store")


class JsonAnswer(Response):
    """A JSON body."""

    def __init__(self, content: Any, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> None:
        super().__init__(
            msgspec.json.encode(content),
            status,
            {**(headers or {}), "Cache-Control": "no-store"},
            media_type="application/json",
        )


class SpoolAnswer:
    """A result's bytes: whole, a range of them, or as they come.

    Programs get them under `media_type`. For a browser they are octets and a file to save: what a handler wrote must
    never become a page of the console's origin.
    """

    def __init__(
        self,
        spool: ResultSpool,
        *,
        name: str,
        headers: dict[str, str] | None = None,
        media_type: str | None = None,
        status: int = HTTPStatus.OK,
    ) -> None:
        self._spool = spool
        self._name = name
        self._headers = headers or {}
        self._media_type = media_type
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Implement an ASGI application."""
        spool = self._spool
        media_type = self._media_type if scope.get(BY_PROGRAM) and self._media_type else "application/octet-stream"
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-disposition", f"attachment; filename*=UTF-8''{quote(self._name, safe='')}".encode()),
            NO_STORE,
            *((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in self._headers.items()),
        ]
        status, start, end = self._status, 0, None
        if spool.complete:
            asked, start, end = _range(scope, spool.size)
            status = self._status if asked == HTTPStatus.OK else asked
            headers += [(b"accept-ranges", b"bytes"), (b"content-length", str(end - start).encode())]
            if asked != HTTPStatus.OK:
                shown = f"{start}-{end - 1}" if end > start else "*"
                headers.append((b"content-range", f"bytes {shown}/{spool.size}".encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send_body(scope, send, start, end)

    async def _send_body(self, scope: Scope, send: Send, start: int, end: int | None) -> None:
        async for piece in follow(self._spool, start, end):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if connection_of(scope).gone:
                return
        if self._spool.cut:
            # The only way to say that there is not all of it.
            connection_of(scope).reset()
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def follow(spool: ResultSpool, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
    """Yield the bytes from `start` to `end` as they come; without an end, to that of the spool."""
    offset = start
    while end is None or offset < end:
        piece = spool.read(offset, CHUNK if end is None else min(CHUNK, end - offset))
        if piece:
            offset += len(piece)
            yield piece
        elif spool.complete or spool.cut:
            return
        else:
            await _growth(spool)


async def _growth(spool: ResultSpool) -> None:
    grown = asyncio.Event()
    spool.on_growth.append(grown.set)
    try:
        await grown.wait()
    finally:
        spool.on_growth.remove(grown.set)


_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def _range(scope: Scope, size: int) -> tuple[HTTPStatus, int, int]:
    """Status, start and end of what is asked for; several ranges at once are answered with the whole."""
    asked = next((value for name, value in scope["headers"] if name == b"range"), b"")
    form = _RANGE.fullmatch(asked.decode("latin-1").strip())
    if form is None or form.group() == "bytes=-":
        return HTTPStatus.OK, 0, size
    first, last = form.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
    return HTTPStatus.PARTIAL_CONTENT, start, end


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
