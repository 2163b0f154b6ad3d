"""Requests and responses of the protocol's port as ASGI messages."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from starlette.types import Message, Receive, Send


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

_WRITE: Final = 256 * 1024


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
    if length <= _WRITE:
        await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
        return
    for piece in pieces:
        # One large write would be taken whole by the TLS layer: nobody would wait for the reader, or see it leave.
        for start in range(0, len(piece), _WRITE):
            await send({"type": "http.response.body", "body": piece[start : start + _WRITE], "more_body": True})
            await asyncio.sleep(0)
