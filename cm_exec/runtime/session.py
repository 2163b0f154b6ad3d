"""Authenticated connections with the runtime: the token on each request, kept-alive connections, trust.

urllib3 opens a connection on a helper thread: addresses, timeout, TLS, the certificate's check.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Mapping
from typing import Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from cm_exec.errors import NoRuntimeError
from cm_exec.processes.worker_loop import in_thread
from cm_exec.runtime.connection import Body, Connection, ConnectionEndedError, StreamingBody, reason_text
from cm_exec.runtime.endpoints import Endpoint, RuntimeEndpoints, explain, read_endpoints, tls_context
from cm_exec.runtime.http import Headers, Response, request_head
from cm_exec.runtime.retry import NotReadyError, RequestError, RetryLimits

log: Final = logging.getLogger("cm_exec.runtime")


class RuntimeSession:
    """Sends requests over kept-alive connections, one more for each request at a time.

    Token and CA are read again from their files after 401, 403 or a TLS failure.
    """

    def __init__(
        self, environ: Mapping[str, str], endpoints: RuntimeEndpoints, server_name: str | None, limits: RetryLimits
    ) -> None:
        """Raise NoRuntimeError when the CA cannot be used."""
        self._environ = environ
        self._endpoints = endpoints
        self._server_name = server_name
        self._limits = limits
        self._token = endpoints.token
        self._tls = tls_context(endpoints.ca_pem)
        self._idle: dict[str, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._waiting: list[tuple[str, asyncio.Future[Connection]]] = []

    async def request(
        self,
        method: str,
        endpoint: Endpoint,
        *,
        seconds: float,
        path: str = "",
        body: Body | None = None,
        content_type: str = "",
    ) -> Response:
        """Send one request and return its response, whatever its status. Raises RequestError."""
        head = request_head(method, endpoint.path + path, self._headers(endpoint, body, content_type))
        connection = self._take_idle(endpoint)
        if connection is not None:
            try:
                return await self._send(connection, endpoint, head, body, seconds)
            except ConnectionEndedError:
                if isinstance(body, StreamingBody):
                    raise
                # a kept-alive connection that was closed in the meantime says nothing about the runtime
        connection = await self._open(endpoint, seconds)
        return await self._send(connection, endpoint, head, body, seconds)

    async def _open(self, endpoint: Endpoint, seconds: float) -> Connection:
        """Open a connection; if no descriptor is left for it, wait for one that is in use."""
        try:
            connection = await open_connection(
                endpoint, self._tls, self._server_name or endpoint.host, min(self._limits.connect, seconds)
            )
        except RequestError as error:
            if error.untrusted:
                self.reload()
            if not error.exhausted or not self._all:
                raise
            return await self._next_returned(endpoint, seconds, error)
        self._all.add(connection)
        return connection

    async def _next_returned(self, endpoint: Endpoint, seconds: float, error: RequestError) -> Connection:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((endpoint.origin, waiter))
        try:
            async with asyncio.timeout(seconds):
                returned: Connection = await waiter
                return returned
        except TimeoutError:
            raise error from None
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not waiter]

    def _put_back(self, endpoint: Endpoint, connection: Connection) -> None:
        for origin, waiter in self._waiting:
            if origin == endpoint.origin and not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.setdefault(endpoint.origin, []).append(connection)

    def reload(self) -> None:
        """Read token and CA again; what cannot be read stays as it was."""
        try:
            endpoints = read_endpoints(self._environ)
            if endpoints.ca_pem != self._endpoints.ca_pem:
                self._tls = tls_context(endpoints.ca_pem)
                self._close_idle()
                log.info("the CA file has changed")
            if endpoints.token != self._token:
                self._token = endpoints.token
                log.info("the token has changed")
            self._endpoints = endpoints
        except (NotReadyError, NoRuntimeError) as error:
            log.warning("token and CA cannot be read again: %s", error)

    def close(self) -> None:
        """Close all connections; requests that wait for a response fail."""
        for connection in list(self._all):
            connection.close()
        self._all.clear()
        self._idle.clear()

    async def _send(
        self, connection: Connection, endpoint: Endpoint, head: bytes, body: Body | None, seconds: float
    ) -> Response:
        tls = self._tls
        try:
            return await connection.request(head, body, seconds)
        finally:
            if tls is self._tls and connection.is_open:
                self._put_back(endpoint, connection)
            else:
                connection.close()
                self._all.discard(connection)

    def _take_idle(self, endpoint: Endpoint) -> Connection | None:
        idle = self._idle.get(endpoint.origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_reusable():
                return connection
            connection.close()
            self._all.discard(connection)
        return None

    def _close_idle(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
                self._all.discard(connection)
        self._idle.clear()

    def _headers(self, endpoint: Endpoint, body: Body | None, content_type: str) -> Headers:
        headers: Headers = (("Host", endpoint.authority), ("Module-Auth-Token", self._token))
        if content_type:
            headers += (("Content-Type", content_type),)
        if isinstance(body, StreamingBody):
            return (*headers, ("Transfer-Encoding", "chunked"))
        if body is None:
            return headers
        return (*headers, ("Content-Length", str(len(body) if isinstance(body, bytes) else body.size)))


async def open_connection(endpoint: Endpoint, tls: ssl.SSLContext, server_name: str, seconds: float) -> Connection:
    """Connect, within `seconds`. Raises RequestError."""
    origin = endpoint.origin
    try:
        sock = await in_thread(lambda: _connect(endpoint, tls, server_name, seconds))
    except ssl.SSLError as error:
        raise RequestError(f"{origin}: {explain(error, server_name)}", untrusted=True) from error
    except TimeoutError as error:
        raise RequestError(f"{origin}: cannot connect: timed out", never_connected=True) from error
    except (OSError, HTTPError, ValueError) as error:
        exhausted = isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}
        raise RequestError(
            f"{origin}: cannot connect: {reason_text(error)}", never_connected=True, exhausted=exhausted
        ) from error
    return Connection(sock, origin)


def _connect(endpoint: Endpoint, tls: ssl.SSLContext, server_name: str, timeout: float) -> socket.socket:
    connection: HTTPConnection
    if endpoint.is_secure:
        connection = _Ipv4First(
            endpoint.host, endpoint.port, timeout=timeout, ssl_context=tls, server_hostname=server_name
        )
    else:
        connection = _PlainIpv4First(endpoint.host, endpoint.port, timeout=timeout)
    try:
        connection.connect()
        sock = connection.sock
        assert sock is not None  # noqa: S101 - for the type checker
        connection.sock = None  # the connection is ours from now on
        sock.settimeout(0)
    except BaseException:
        connection.close()
        raise
    return sock


class _Ipv4First(HTTPSConnection):
    """Tries IPv4 addresses first: the runtime was seen to listen on IPv4 only, under the name localhost."""

    def _new_conn(self) -> socket.socket:
        return _connect_ipv4_first(self._dns_host, self.port, self.timeout)


class _PlainIpv4First(HTTPConnection):
    """The same without TLS, for the runtime's plain API on a loopback address."""

    def _new_conn(self) -> socket.socket:
        return _connect_ipv4_first(self._dns_host, self.port, self.timeout)


def _connect_ipv4_first(host: str, port: int, timeout: object) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout if isinstance(timeout, float) else None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure
