"""The responses to callers: JSON, and the bytes of results."""

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cm_exec.local_runtime.call import CHUNK, ResultSpool
from cm_exec.local_runtime.listener import connection_of

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
            connection = connection_of(scope)
            connection.reset()
            await connection.lost
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


_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


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
