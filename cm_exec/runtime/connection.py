"""One kept-alive HTTPS connection with the runtime, used by one thread.

urllib3 opens it: addresses, timeouts, TLS, the certificate's check. Every exception of the libraries below ends here
as an ExchangeError.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from cm_exec.protocol.status import Verdict, result_verdict
from cm_exec.runtime.errors import ExchangeError
from cm_exec.runtime.http import (
    Answer,
    AnswerReader,
    BrokenOffError,
    Headers,
    NoAnswerError,
    NotHttpError,
    request_head,
)
from cm_exec.runtime.location import Endpoint
from cm_exec.runtime.tls import explain
from cm_exec.runtime.wire import Wire

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0
"""Seconds without a byte after which a request is given up; a poll is held for 5 s by the runtime."""

_ONE_WRITE: Final = 8 * 1024
_CLOSED: Final = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class _Ipv4FirstConnection(HTTPSConnection):
    """Tries IPv4 addresses first: the runtime was seen to listen on IPv4 only, under the name localhost."""

    def _new_conn(self) -> socket.socket:
        found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        found.sort(key=lambda info: info[0] != socket.AF_INET)
        failure = OSError("the name has no address")
        for family, kind, protocol, _, address in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(CONNECT_TIMEOUT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure


class Rereadable(Protocol):
    """A body that can be sent again: `size` in bytes, and its content from the start at each call of `chunks`."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The content from its start."""
        ...


class Chunked(Struct, frozen=True):
    """A body that is sent as it is produced, and can be sent once only.

    Whatever `chunks` raises comes out of the request, and the body is cut off without its end.
    """

    chunks: Iterator[bytes]


Body = bytes | Rereadable | Chunked


class Connection:
    """Requests to one host and port, one after another, over a connection that is opened when it is needed."""

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext, server_name: str | None, *, read_timeout: float = READ_TIMEOUT
    ) -> None:
        self._name = server_name or endpoint.host
        self._origin = endpoint.origin
        self._host = endpoint.origin.removeprefix("https://")
        self.read_timeout = read_timeout
        self._aborted = False
        self._wire: Wire | None = None
        self._reader: AnswerReader | None = None
        self._urllib3 = _Ipv4FirstConnection(
            endpoint.host, endpoint.port, timeout=READ_TIMEOUT, ssl_context=tls, server_hostname=self._name
        )

    def request(self, method: str, path: str, headers: Headers, body: Body | None = None) -> Answer:
        """Send one request and read its whole answer, whatever its status. Raises ExchangeError."""
        kept_alive = self._is_reusable()
        if not kept_alive:
            self.close()
        try:
            return self._attempt(method, path, headers, body)
        except _ClosedError:
            if not kept_alive or isinstance(body, Chunked):
                raise
        # a kept-alive connection that was closed in the meantime says nothing of the runtime
        return self._attempt(method, path, headers, body)

    def abort(self) -> None:
        """Let a request that another thread waits for fail now, and all further ones."""
        self._aborted = True
        sock = self._urllib3.sock  # also while it is being opened
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._wire = self._reader = None
        self._urllib3.close()

    def _is_reusable(self) -> bool:
        """Whether the connection is open and nothing has come on it that nobody asked for."""
        if self._wire is None or self._reader is None:
            return False
        return self._reader.is_empty and self._wire.is_quiet()

    def _attempt(self, method: str, path: str, headers: Headers, body: Body | None) -> Answer:
        try:
            wire, reader = self._connected()
            answer = self._exchange(wire, reader, self._head(method, path, headers, body), body)
        except BaseException:
            self.close()
            raise
        if not answer.reusable:
            self.close()
        return answer

    def _connected(self) -> tuple[Wire, AnswerReader]:
        if self._aborted:
            raise ExchangeError("the request was given up")
        if self._wire is None or self._reader is None:
            self._connect()
            if self._aborted:  # meanwhile
                raise ExchangeError("the request was given up")
            sock = self._urllib3.sock
            assert isinstance(sock, ssl.SSLSocket)  # noqa: S101 - HTTPS without a proxy: for the type checker
            self._wire = Wire(sock)
            self._reader = AnswerReader(self._wire.receive, self._wire.receive_into)
        self._wire.timeout = self.read_timeout
        return self._wire, self._reader

    def _connect(self) -> None:
        try:
            self._urllib3.connect()
        except ssl.SSLError as error:
            raise ExchangeError(f"{self._origin}: {explain(error, self._name)}", untrusted=True) from error
        except (ConnectionRefusedError, socket.gaierror) as error:
            raise ExchangeError(f"{self._origin}: {_reason(error)}", never_connected=True) from error
        except (OSError, HTTPError, ValueError) as error:
            raise ExchangeError(f"{self._origin}: cannot connect: {_reason(error)}") from error

    def _head(self, method: str, path: str, headers: Headers, body: Body | None) -> bytes:
        return request_head(method, path, ("Host", self._host), *headers, *_framing(body))

    def _exchange(self, wire: Wire, reader: AnswerReader, head: bytes, body: Body | None) -> Answer:
        sent = False
        try:
            with suppress(*_CLOSED, TimeoutError):  # a refusal may have come before all was sent
                _send(wire, head, body)
                sent = True
            answer = reader.read()
        except BrokenOffError as error:
            raise ExchangeError(f"{self._origin}: {error}", partial=error.partial) from error
        except (NoAnswerError, *_CLOSED) as error:
            raise _ClosedError(f"{self._origin}: the connection was closed without an answer") from error
        except TimeoutError as error:
            raise ExchangeError(f"{self._origin}: no answer within {self.read_timeout:g} s") from error
        except NotHttpError as error:
            raise ExchangeError(f"{self._origin}: what came back is not HTTP") from error
        except OSError as error:
            raise ExchangeError(f"{self._origin}: {_reason(error)}") from error
        if not sent and result_verdict(answer.status) is Verdict.ACCEPTED:
            raise ExchangeError(f"{self._origin}: it answered {answer.status} and closed before all was sent")
        return answer


class _ClosedError(ExchangeError):
    """The connection was closed before the first byte of an answer."""


def _framing(body: Body | None) -> Headers:
    if body is None:
        return ()
    if isinstance(body, Chunked):
        return (("Transfer-Encoding", "chunked"),)
    return (("Content-Length", str(len(body) if isinstance(body, bytes) else body.size)),)


def _send(wire: Wire, head: bytes, body: Body | None) -> None:
    """One write for what fits into one TLS record: each write is a record, a system call and a wake-up."""
    if body is None or (isinstance(body, bytes) and len(body) <= _ONE_WRITE):
        wire.send(head + (body or b""))
        return
    wire.send(head)
    if isinstance(body, bytes):
        wire.send(body)
    elif isinstance(body, Chunked):
        for chunk in body.chunks:
            wire.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        wire.send(b"0\r\n\r\n")
    else:
        for chunk in body.chunks():
            wire.send(chunk)


def _reason(error: BaseException) -> str:
    """The error in words, without the addresses of objects that urllib3 puts into its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "timed out" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
