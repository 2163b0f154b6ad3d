"""Requests and responses of both ports as ASGI messages, and the faults that let them go wrong."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cm_exec.local_runtime.call import CHUNK, ResultSpool
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


HeaderList = list[tuple[bytes, bytes]]

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
        headers: HeaderList = [
            (b"content-type", media_type.encode()),
            (b"content-disposition", f"attachment; filename*=UTF-8''{quote(self._name, safe='')}".encode()),
            NO_STORE,
            *_encoded(self._headers),
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
    grown: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def notify() -> None:
        if not grown.done():
            grown.set_result(None)

    spool.on_growth.append(notify)
    try:
        await grown
    finally:
        with contextlib.suppress(ValueError):
            spool.on_growth.remove(notify)


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


def _encoded(headers: dict[str, str]) -> HeaderList:
    return [(name.lower().encode(), value.encode("latin-1", errors="replace")) for name, value in headers.items()]


@dataclass(frozen=True, slots=True)
class FaultyRequest:
    """A request, and the way to answer it."""

    scope: Scope
    receive: Receive
    send: Send


async def inject_fault(fault: Fault, endpoint: ProtocolEndpoint, serve: ASGIApp, exchange: FaultyRequest) -> int:
    """Let a request go wrong; `serve` is what would have answered it. The status that was sent, 0 for none."""
    connection = connection_of(exchange.scope)
    if fault.after_bytes is not None:
        await _break_midway(fault.after_bytes, endpoint, serve, exchange)
        return 0
    if fault.processed:
        await serve(exchange.scope, exchange.receive, _discard)
    if fault.kind is FaultKind.STATUS:
        if not fault.processed:
            await RequestBody(exchange.receive).discard()
        await send_reply(exchange.send, fault.status, fault.body)
        return fault.status
    if fault.kind is FaultKind.RESET:
        connection.reset()
    elif fault.kind is FaultKind.DROP:
        connection.transport.close()
    await connection.lost
    return 0


async def _break_midway(after_bytes: int, endpoint: ProtocolEndpoint, serve: ASGIApp, exchange: FaultyRequest) -> None:
    """Reset the connection after so many bytes: of a job's body, or of what the worker posts."""
    fuse = _ByteLimit(connection_of(exchange.scope), after_bytes)
    if endpoint is ProtocolEndpoint.POLL:
        await serve(exchange.scope, exchange.receive, lambda message: fuse.send(message, exchange.send))
    else:
        await serve(exchange.scope, lambda: fuse.receive(exchange.receive), exchange.send)


class _ByteLimit:
    def __init__(self, connection: ServerConnection, left: int) -> None:
        self._connection = connection
        self._left = left

    async def send(self, message: Message, send: Send) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < self._left:
            self._left -= len(body)
            await send(message)
            return
        await send({"type": "http.response.body", "body": body[: self._left], "more_body": True})
        await self._trip()

    async def receive(self, receive: Receive) -> Message:
        message = await receive()
        self._left -= len(message.get("body", b""))
        if self._left > 0:
            return message
        await self._trip()
        return {"type": "http.disconnect"}

    async def _trip(self) -> None:
        self._connection.reset()
        await self._connection.lost


async def _discard(_: Message) -> None:
    pass
