"""One kept-alive HTTP connection, which the loop reads and writes. What fails becomes a RequestError."""

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct

from cm_exec.runtime.http import (
    IncompleteResponseError,
    InvalidResponseError,
    NoResponseError,
    OnHead,
    Response,
    ResponseReader,
)
from cm_exec.runtime.retry import RequestError

_READ_SIZE: Final = 64 * 1024
_TURN: Final = 1024 * 1024
"""Bytes that one connection moves before other work of the loop gets its turn."""

_ONE_WRITE: Final = 8 * 1024
"""A head and a body up to this size are sent together: each write is a TLS record, a system call and a wake-up."""

_BRIEFLY_IDLE: Final = 0.001
"""Seconds after a response in which the input of a connection is not checked again before its next request."""

_NOTHING: Final = memoryview(b"")
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CLOSED: Final = BrokenPipeError | ConnectionResetError | ssl.SSLEOFError | ssl.SSLZeroReturnError


class ReplayableBody(Protocol):
    """A body that can be sent again: its size in bytes, and its content from the start at each call of `chunks`."""

    size: int

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the content from its start."""
        ...


class StreamingBody(Struct, frozen=True):
    """A body that is sent as it is produced, and only once.

    What `chunks` raises comes out of the request, and the body is cut off without its end.
    """

    chunks: AsyncIterator[bytes]


Body = bytes | ReplayableBody | StreamingBody


class Connection:
    """One connection that sends a request and reads its response, again and again.

    The input is watched at all times: a response that comes before the whole request was sent is seen at once, and so
    is the end of an idle connection.
    """

    def __init__(self, sock: socket.socket, origin: str, *, accepts_early: bool = False) -> None:
        """`accepts_early`: a success counts also if it comes before the whole request was sent."""
        self._sock = sock
        self._accepts_early = accepts_early
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._reader = ResponseReader()
        self._response: asyncio.Future[Response] | None = None
        self._outgoing: Iterator[bytes] = iter(())
        self._view = _NOTHING
        self._has_sent = self._is_sent = True
        self._writing = False
        self._sendable: asyncio.Future[None] | None = None
        self.is_open = True
        self._seconds = 0.0
        self._idle_since = 0.0
        self._quiet = select.poll()
        self._quiet.register(sock, select.POLLIN)
        self._loop.add_reader(sock, self._read)

    def is_reusable(self, *, checked: bool = False) -> bool:
        """Return whether the connection is open and nothing has come that nobody asked for.

        `checked` looks at its input in any case, for a request that must not be sent twice.
        """
        if not self.is_open or not self._reader.is_empty:
            return False
        is_fresh = not checked and self._loop.time() - self._idle_since < _BRIEFLY_IDLE
        return is_fresh or not self._quiet.poll(0)

    def close(self) -> None:
        """Close the connection; a request that waits for its response fails."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._sock)
            self._stop_writing()
            self._view, self._outgoing = _NOTHING, iter(())
            self._sock.close()
            self._fail(RequestError(f"{self._origin}: the connection was closed"))

    async def request(self, head: bytes, body: Body | None, seconds: float, on_head: OnHead | None = None) -> Response:
        """Send one request and return its complete response, whatever its status, within `seconds` in all.

        `on_head` may take the body as it comes; what it raises comes out. Raises RequestError.
        """
        response: asyncio.Future[Response] = self._loop.create_future()
        self._response = response
        self._reader.on_head = on_head
        self._seconds = seconds
        deadline = self._loop.call_later(seconds, self._too_late)
        sender: asyncio.Task[None] | None = None
        try:
            if isinstance(body, StreamingBody):
                self._start_sending(head)
                sender = self._loop.create_task(self._send_stream(body.chunks))
            elif body is None or (isinstance(body, bytes) and len(body) <= _ONE_WRITE):
                self._start_sending(head + body if body else head)
            else:
                self._start_sending(head, iter((body,)) if isinstance(body, bytes) else body.chunks())
            result = await response
        except BaseException:
            self.close()
            raise
        finally:
            self._response = None
            deadline.cancel()
            del response  # with an exception in it, whose traceback has this frame, it would keep the body
            if sender is not None:
                await _cancelled(sender)
        if not self._is_sent:
            self.close()
            if result.status < 300 and not self._accepts_early:  # noqa: PLR2004 - it did not get what it accepts
                raise RequestError(f"{self._origin}: it answered {result.status} before all was sent")
        elif not result.reusable:
            self.close()
        return result

    def _start_sending(self, head: bytes, body: Iterator[bytes] | None = None) -> None:
        try:
            sent = self._sock.send(head)
        except OSError:  # too much at once, or a broken connection: `_write` meets the same error
            sent = 0
        self._has_sent = sent > 0
        self._is_sent = body is None and sent == len(head)
        if not self._is_sent:
            self._view, self._outgoing = memoryview(head)[sent:], body or iter(())
            self._write()

    def _write(self) -> None:
        """Send as much as the socket takes, up to the end of this connection's turn.

        The end of the body is looked for also when the turn is over: a response may come before the next one.
        """
        budget = _TURN
        try:
            while True:
                if not self._view:
                    chunk = next(self._outgoing, None)
                    if chunk is None:
                        self._view = _NOTHING
                        self._stop_writing()
                        self._is_sent = self._sendable is None
                        if self._sendable is not None and not self._sendable.done():
                            self._sendable.set_result(None)
                        return
                    self._view = memoryview(chunk)
                if budget <= 0:
                    break
                sent = self._sock.send(self._view)
                self._has_sent = True
                self._view = self._view[sent:]
                budget -= sent
        except _NOT_NOW:
            pass
        except OSError:  # a refusal may have come before all was sent: the reader will see it, or the end
            self._stop_writing()
            return
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock, self._write)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock)

    async def _send_stream(self, chunks: AsyncIterator[bytes]) -> None:
        """Send chunks as they are produced; what producing them raises becomes the outcome of the request."""
        try:
            await self._flushed()
            async for chunk in chunks:
                self._outgoing = iter((b"%x\r\n%b\r\n" % (len(chunk), chunk),))
                await self._flushed()
            self._outgoing = iter((b"0\r\n\r\n",))
            await self._flushed()
            self._sendable, self._is_sent = None, True
        except Exception as error:  # noqa: BLE001 - raised again by the request
            if self._response is not None and not self._response.done():
                self._response.set_exception(error)

    async def _flushed(self) -> None:
        self._sendable = self._loop.create_future()
        self._write()
        await self._sendable

    def _read(self) -> None:
        try:
            for _ in range(_TURN // (16 * 1024)):  # the size of a TLS record
                data = self._sock.recv(_READ_SIZE)
                response = self._reader.feed(data) if data else self._reader.end()
                if response is not None:
                    self._received(response)
                    return
                if not self._reader.is_in_body:
                    return
        except _NOT_NOW:
            return
        except Exception as error:  # noqa: BLE001 - raised again by the request
            self._end(self._explained(error))

    def _explained(self, error: Exception) -> Exception:
        """Return the RequestError for a failed read, or the error of what takes the body."""
        reader = self._reader
        if isinstance(error, NoResponseError | _CLOSED) and reader.is_empty:
            message = f"{self._origin}: the connection was closed without a response"
            return ConnectionEndedError(message, never_sent=not self._has_sent)
        never_sent, partial = False, reader.received_body
        if isinstance(error, _CLOSED):
            why = "the connection broke within the response"
        elif isinstance(error, IncompleteResponseError):
            why = "the connection ended within the response"
        elif isinstance(error, InvalidResponseError):
            why, partial = "the response is not HTTP", partial[:0]
        elif isinstance(error, OSError):
            why, never_sent = reason_text(error), not self._has_sent and reader.is_empty
        elif isinstance(error, MemoryError):  # the beginning has the job's id
            why, partial = "there is not enough memory for the response", partial[:_READ_SIZE]
        else:
            return error
        return RequestError(f"{self._origin}: {why}", never_sent=never_sent, partial=bytes(partial))

    def _received(self, response: Response) -> None:
        if self._response is None or self._response.done():
            self.close()  # nobody asked for it
        else:
            self._idle_since = self._loop.time()
            self._response.set_result(response)

    def _too_late(self) -> None:
        if self._response is None or self._response.done():
            return  # the response came in the same moment
        why = f"{self._origin}: no complete response within {self._seconds:g} s"
        self._end(RequestError(why, timed_out=True, partial=bytes(self._reader.received_body)))

    def _end(self, error: Exception) -> None:
        self._fail(error)
        self.close()

    def _fail(self, error: Exception) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)


class ConnectionEndedError(RequestError):
    """Raised when the connection was closed before the first byte of a response."""


async def _cancelled(task: "asyncio.Task[None]") -> None:
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def reason_text(error: BaseException) -> str:
    """Return the error in words, without the addresses of objects that urllib3 puts into its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "timed out" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
