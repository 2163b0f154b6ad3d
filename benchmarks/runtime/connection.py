"""One kept-alive TLS connection of the server: bytes in, complete requests out."""

import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RECORD: Final = 16384
"""The largest content of a TLS record, in bytes."""

WORTH_COPYING: Final = 256 * 1024
"""Up to this many bytes, joining the parts of a response costs less than one record for each."""


class PeerGoneError(Exception):
    """Raised when the client closes the connection or violates HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body. It is `authorized` if it has the token of the module."""

    method: bytes
    path: str
    body: bytearray
    authorized: bool


class Connection:
    """A non-blocking connection; the caller watches `socket` and calls `handshake`, `receive` and `flush`.

    `watch_room` is called with True when the socket must be watched for room, too, and with False afterwards.
    """

    def __init__(self, socket: ssl.SSLSocket, token_header: bytes, watch_room: Callable[[bool], None]) -> None:
        self.socket = socket
        self.established = False
        self._token_header = token_header
        self._watch_room = watch_room
        self._room_watched = False
        self._received = bytearray()
        self._body: _Body | None = None
        self._unsent: deque[memoryview] = deque()

    def handshake(self) -> bool:
        """Continue the handshake and return whether it is complete."""
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            raise PeerGoneError from error
        self.established = True
        return True

    def receive(self) -> list[Request]:
        """Read the received bytes and return the complete requests."""
        requests = []
        while (size := self._read()) > 0:
            while (request := self._next_request()) is not None:
                requests.append(request)
            if size < RECORD and self._body is None:
                break  # a short record is likely to be the last; if not, the socket stays readable
        return requests

    def send(self, *parts: bytes) -> None:
        """Queue a response and send as much as the socket takes. `receive` notices a broken connection."""
        copied = sum(map(len, parts)) <= WORTH_COPYING
        self._unsent.extend(map(memoryview, [b"".join(parts)] if copied else parts))
        self.flush()

    def flush(self) -> None:
        """Send as much of the queue as the socket takes."""
        try:
            while self._unsent:
                self._send_first()
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._unsent.clear()
        if bool(self._unsent) != self._room_watched:
            self._room_watched = not self._room_watched
            self._watch_room(self._room_watched)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def _send_first(self) -> None:
        view = self._unsent[0]
        sent = self.socket.send(view)
        if sent == len(view):
            self._unsent.popleft()
        else:
            self._unsent[0] = view[sent:]

    def _read(self) -> int:
        """Read one record and return its size; 0 if there is none. A large body is read into its final buffer."""
        try:
            if self._body is not None:
                size = self.socket.recv_into(self._body.room)
                self._body.room = self._body.room[size:]
            else:
                data = self.socket.recv(RECORD)
                size = len(data)
                self._received += data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise PeerGoneError from error
        if not size:
            raise PeerGoneError
        return size

    def _next_request(self) -> Request | None:
        if self._body is not None:
            if self._body.room:
                return None
            body, self._body = self._body, None
            return self._request(body.head, body.content)
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(received[:end])
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            framed = _chunked_body(received, end + 4)
            if framed is None:
                return None
            content, after = framed
        else:
            after = end + 4 + _content_length(head.lower())
            content = received[end + 4 : after]
        self._received = received[after:]
        if after > len(received):
            self._body = _Body(head, content, after - end - 4)
            return None
        return self._request(head, content)

    def _request(self, head: bytes, body: bytearray) -> Request:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].decode("latin-1")
        authorized = self._token_header in head.lower() + b"\r\n"
        return Request(method, path, body, authorized)


class _Body:
    """An incomplete body of known length; `room` is the part to fill."""

    def __init__(self, head: bytes, begun: bytearray, length: int) -> None:
        self.head = head
        self.content = begun + bytes(length - len(begun))
        self.room = memoryview(self.content)[len(begun) :]


def _content_length(lowered_head: bytes) -> int:
    _, found, value = lowered_head.partition(b"\r\ncontent-length:")
    if not found:
        return 0
    try:
        return int(value.partition(b"\r\n")[0])
    except ValueError as error:
        raise PeerGoneError from error


def _chunked_body(received: bytearray, at: int) -> tuple[bytearray, int] | None:
    """Return the body that starts at `at` and its end; None if it is incomplete."""
    body = bytearray()
    while True:
        line_end = received.find(b"\r\n", at)
        if line_end < 0:
            return None
        try:
            size = int(bytes(received[at:line_end]).partition(b";")[0], 16)
        except ValueError as error:
            raise PeerGoneError from error
        at = line_end + 2 + size + 2
        if len(received) < at:
            return None
        if not size:
            return body, at
        body += received[line_end + 2 : at - 2]
