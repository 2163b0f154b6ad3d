"""Faults carried out, on real connections."""

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cm_exec.local_runtime.core.faults import Fault, FaultKind, ProtocolEndpoint
from cm_exec.local_runtime.http.listener import ServerConnection, connection_of
from cm_exec.local_runtime.http.messages import RequestBody, send_reply


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
