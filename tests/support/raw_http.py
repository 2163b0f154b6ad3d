"""HTTP/1.1 on a socket, read and written bytewise, so that it can be broken at any byte."""

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

STALLED: Final = 90.0
"""Seconds after which a silent client is given up, so that no thread of a test outlives it."""

_CHUNK: Final = 1 << 18


class ClientGoneError(Exception):
    """Raised when the client closed or broke its connection."""


class HungUp(Exception):  # noqa: N818 - a way to leave, not an error
    """Raised when the script ended this connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body; header names in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)


class RawConnection:
    """One connection of a client."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        sock.settimeout(STALLED)

    def handshake(self) -> None:
        """Do the TLS handshake, if there is TLS.

        Raises OSError (ssl.SSLError among them) when the client does not go through with it.
        """
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.do_handshake()

    def read_head(self) -> Head | None:
        """Read the head of the next request; None if the client has closed the connection between requests."""
        end = self._fill_to(b"\r\n\r\n")
        if end < 0:
            return None
        text = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + 4]
        first, *lines = text.split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        return Head(method=method, target=target, headers=headers)

    def read_body(self, head: Head, sink: Callable[[bytes], None], *, limit: int | None = None) -> None:
        """Pass the body on to `sink`, at most `limit` bytes of it."""
        if (head.header("transfer-encoding") or "").lower() == "chunked":
            self._read_chunks(sink, limit)
        else:
            length = int(head.header("content-length") or 0)
            self.read_exactly(length if limit is None else min(limit, length), sink)

    def discard(self) -> None:
        """Read and discard everything until the client disconnects."""
        while self._receive():
            self._buffer.clear()

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except (OSError, ValueError) as error:
            raise ClientGoneError from error

    def wait_until_gone(self) -> None:
        """Block until the client does something: with a request open, it can only disconnect."""
        with contextlib.suppress(OSError):
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)

    def is_alive(self) -> bool:
        """Return whether the client waits for a response."""
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLIN)
        except (OSError, ValueError):
            return False
        return not poll.poll(0)

    def reset(self) -> None:
        """End the connection with a RST instead of a FIN."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def shut(self) -> None:
        """Wake the thread that reads here, from another thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()

    def _read_chunks(self, sink: Callable[[bytes], None], limit: int | None) -> None:
        left = limit
        while size := int(self._line(), 16):
            self.read_exactly(size if left is None else min(size, left), sink)
            if left is not None and size >= left:
                return
            left = None if left is None else left - size
            self._line()
        self._line()

    def _line(self) -> bytes:
        end = self._fill_to(b"\r\n")
        if end < 0:
            raise ClientGoneError
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def read_exactly(self, size: int, sink: Callable[[bytes], None]) -> None:
        """Pass on the next `size` bytes, as they come."""
        while size:
            if not self._buffer and not self._receive():
                raise ClientGoneError
            part = bytes(self._buffer[:size])
            del self._buffer[: len(part)]
            size -= len(part)
            sink(part)

    def _fill_to(self, mark: bytes) -> int:
        while (end := self._buffer.find(mark)) < 0:
            if not self._receive():
                return -1
        return end

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(_CHUNK)
        except (OSError, ValueError) as error:
            raise ClientGoneError from error
        self._buffer += data
        return bool(data)


def response(status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the bytes of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def over(sock: socket.socket, context: ssl.SSLContext | None) -> RawConnection:
    """Open a connection without its TLS handshake."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return RawConnection(
        context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if context else sock
    )
