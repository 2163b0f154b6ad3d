"""One kept-alive HTTPS connection with the runtime, used by one thread.

urllib3's connections are used below its pool: a pool takes as long as the request itself, and the worker needs
neither its redirects nor its retries. Every exception of the libraries below ends here as an ExchangeError.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from typing import Final, Protocol

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from cm_exec.runtime.errors import ExchangeError
from cm_exec.runtime.location import Endpoint
from cm_exec.runtime.tls import explain

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0
"""Seconds without a byte after which a request is given up; a poll is held for 5 s by the runtime."""

_BLOCK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the runtime."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


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


Body = bytes | Rereadable


class Connection:
    """Requests to one host and port, one after another, over a connection that is opened when it is needed."""

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext, server_name: str | None, *, read_timeout: float = READ_TIMEOUT
    ) -> None:
        self._name = server_name or endpoint.host
        self._origin = f"https://{endpoint.host}:{endpoint.port}"
        self._aborted = False
        self._read_timeout = read_timeout
        self._http = _Ipv4FirstConnection(
            endpoint.host, endpoint.port, timeout=read_timeout, ssl_context=tls, server_hostname=self._name
        )

    def request(self, method: str, path: str, headers: Mapping[str, str], body: Body | None = None) -> Answer:
        """Send one request and read its whole answer, whatever its status. Raises ExchangeError."""
        kept_alive = self._http.is_connected
        try:
            return self._attempt(method, path, headers, body)
        except _NoAnswerError:
            if not kept_alive:
                raise
        # a kept-alive connection that was closed in the meantime says nothing of the runtime
        return self._attempt(method, path, headers, body)

    def abort(self) -> None:
        """Let a request that another thread waits for fail now, and all further ones."""
        self._aborted = True
        sock = self._http.sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._http.close()

    def _attempt(self, method: str, path: str, headers: Mapping[str, str], body: Body | None) -> Answer:
        try:
            self._connect()
            return self._read(self._send(method, path, headers, body))
        except BaseException:
            self._http.close()
            raise

    def _connect(self) -> None:
        if self._aborted:
            raise ExchangeError("the request was given up")
        if self._http.is_connected:
            return
        self._http.close()
        try:
            self._http.connect()
        except ssl.SSLError as error:
            raise ExchangeError(f"{self._origin}: {explain(error, self._name)}", untrusted=True) from error
        except (ConnectionRefusedError, socket.gaierror) as error:
            raise ExchangeError(f"{self._origin}: {_reason(error)}", never_connected=True) from error
        except (OSError, HTTPError) as error:
            raise ExchangeError(f"{self._origin}: cannot connect: {_reason(error)}") from error

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: Body | None) -> BaseHTTPResponse:
        sent: bytes | Iterator[bytes] | None = body if isinstance(body, bytes | None) else body.chunks()
        if not isinstance(body, bytes | None):
            headers = {**headers, "Content-Length": str(body.size)}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # a refusal may have come before all was sent
                self._http.request(method, path, sent, headers, preload_content=False, decode_content=False)
            return self._http.getresponse()
        except TimeoutError as error:
            raise ExchangeError(f"{self._origin}: no answer within {self._read_timeout:g} s") from error
        except (RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            raise _NoAnswerError(f"{self._origin}: the connection was closed without an answer") from error
        except (OSError, HTTPException, HTTPError, ValueError) as error:
            raise ExchangeError(f"{self._origin}: {_reason(error)}") from error

    def _read(self, response: BaseHTTPResponse) -> Answer:
        blocks: list[bytes] = []
        try:
            blocks.extend(response.stream(_BLOCK))
        except (OSError, HTTPException, HTTPError) as error:
            message = f"{self._origin}: the answer broke off: {_reason(error)}"
            raise ExchangeError(message, partial=b"".join(blocks)) from error
        return Answer(response.status, b"".join(blocks), response.headers)


class _NoAnswerError(ExchangeError):
    """The connection was closed before the first byte of an answer."""


def _reason(error: BaseException) -> str:
    """The error in words, without the addresses of objects that urllib3 puts into its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, BadStatusLine):
        return "what came back is not HTTP"
    return f"{type(error).__name__}: {error}"
