"""What the protocol's port answers."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from starlette.types import Message, Send

_NO_CONTENT: Final[Message] = {"type": "http.response.start", "status": 204, "headers": []}
END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}

_WRITE: Final = 256 * 1024


async def send_reply(send: Send, status: int, body: bytes = b"") -> None:
    """Send a whole answer."""
    if status == HTTPStatus.NO_CONTENT:
        await send(_NO_CONTENT)
    else:
        await send_unfinished(send, status, [body])
    await send(END)


async def send_unfinished(send: Send, status: int, pieces: Sequence[bytes]) -> None:
    """Send all of an answer but its end, which is `END`: time to see whether somebody is still there."""
    length = sum(map(len, pieces))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if length <= _WRITE:
        await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
        return
    for piece in pieces:
        # One large write would be taken whole by the TLS layer: nobody would wait for the reader, or see it leave.
        for start in range(0, len(piece), _WRITE):
            await send({"type": "http.response.body", "body": piece[start : start + _WRITE], "more_body": True})
            await asyncio.sleep(0)
