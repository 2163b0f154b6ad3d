"""A listening port served by uvicorn; it can be closed and opened again under the same number."""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import struct
from collections.abc import Callable, Collection
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Scope
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from cm_exec.local_runtime.core import endpoints

_KEEP_ALIVE: Final = 600
"""Seconds that an idle connection stays open: workers keep theirs, and must not meet it just closing."""
_FIRST_BYTE: Final = 60.0
"""Seconds that a connection may be open without a byte."""
_NOTICE: Final = 5.0
"""Seconds in which the task behind a connection ends after the connection has."""
_TRIES: Final = 10
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_TLS_HANDSHAKE: Final = 0x16
"""The first byte of a TLS connection; that of an HTTP request is a letter."""


_log: Final = logging.getLogger("cm_exec.local_runtime")
_log.setLevel(logging.ERROR)  # uvicorn's warnings on invalid requests are reported as protocol violations


_H2C_OFFER: Final = re.compile(rb"\r\nupgrade:[ \t]*h2c(?=\r\n|$)", re.IGNORECASE)


class ServerConnection(HttpToolsProtocol):
    """One worker's or caller's connection. The application finds it in its scope."""

    lost: asyncio.Future[None]
    requests: int = 0
    unknown_name: str | None = None
    """The host that the client asked for, if the certificate does not have it."""
    on_unused: Callable[[str | None], None] | None = None
    on_bad_request: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Implement asyncio.Protocol."""
        super().connection_made(transport)
        self.logger = _log
        tls = transport.get_extra_info("ssl_object")
        self.unknown_name = tls and _unknown_names.get(tls)
        self.lost = self.loop.create_future()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Refuse a request that is not HTTP/1.1."""
        self.requests += 1
        if self.on_bad_request is not None:
            self.on_bad_request()
        super().send_400_response(endpoints.NOT_HTTP)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request. An offer to go on with HTTP/2, as Java's client makes it, would hide the body."""
        if b"h2c" in data and not getattr(self.cycle, "more_body", False):
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _H2C_OFFER.sub(b"", head) + end + rest
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Implement asyncio.Protocol."""
        super().connection_lost(exc)
        if not self.requests and self.on_unused is not None:
            self.on_unused(self.unknown_name)
        if not self.lost.done():
            self.lost.set_result(None)

    def on_message_begin(self) -> None:
        """Implement the callback of httptools."""
        super().on_message_begin()
        self.requests += 1
        cast("dict[str, Any]", self.scope)[_CONNECTION] = self

    @property
    def gone(self) -> bool:
        """Whether nothing that is sent can arrive any more. True as well once we close it."""
        return self.lost.done() or self.transport.is_closing()

    def reset(self) -> None:
        """End the connection with a TCP reset, as a process that dies does."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


_CONNECTION: Final = "cm_exec.connection"


def connection_of(scope: Scope) -> ServerConnection:
    """Return the connection that a request came over."""
    return cast("ServerConnection", scope[_CONNECTION])


class Listener:
    """A port on `host`. `port` is known at once; nothing is accepted before `open`.

    `on_bad_connection` is called with a sentence when a client speaks HTTP where TLS is expected or the reverse, or
    when the TLS handshake fails. uvicorn accepts connections without a word on these, so this class accepts them.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_bad_connection: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._host = host
        self._tls = tls
        self._on_bad_connection = on_bad_connection
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._config: Config | None = None
        self._state = ServerState()
        self._accepting: asyncio.Task[None] | None = None
        self._arriving: set[asyncio.Task[None]] = set()

    async def open(self, application: ASGIApp) -> None:
        """Accept connections, for this application."""
        if self._accepting is not None:
            return
        self._config = Config(
            application,
            interface="asgi3",
            http=ServerConnection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._config.load()
        self._socket.listen(1024)
        self._accepting = asyncio.create_task(self._accept())

    async def close(self, *, grace: float = 0.0) -> None:
        """Refuse connections from now on; requests in progress have `grace` seconds. The port stays ours."""
        if self._accepting is None:
            return
        for task in (self._accepting, *self._arriving):
            task.cancel()
        await asyncio.wait([self._accepting, *self._arriving])
        self._accepting = None
        try:
            # Linux: it listens no more and keeps its port, which a new socket may not get.
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            self._socket.close()
            self._socket = _bind(self._host, self.port)
        await _end_connections(self._state, grace)

    def release(self) -> None:
        """Give the port back. Only after `close`."""
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(self._socket)
            except OSError:  # too many open files, or a client that has gone already
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(self._serve(connected))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _serve(self, connected: socket.socket) -> None:
        """Look at the first byte, and hand the connection to uvicorn's protocol."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_FIRST_BYTE):
                first = await _first_byte(connected)
            if first is None:
                connected.close()
            elif self._tls is not None and first != _TLS_HANDSHAKE:
                self._on_bad_connection(endpoints.PLAIN_HTTP)
                await _refuse_plain_http(connected)
            elif self._tls is None and first == _TLS_HANDSHAKE:
                self._on_bad_connection(endpoints.UNEXPECTED_TLS)
                connected.close()
            else:
                await loop.connect_accepted_socket(self._protocol, connected, ssl=self._tls)
        except ssl.SSLError as error:
            self._on_bad_connection(endpoints.tls_failure(error.reason))
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            connected.close()
            if isinstance(error, ConnectionError) and self._tls is not None:
                self._on_bad_connection(endpoints.tls_failure(None))

    def _protocol(self) -> ServerConnection:
        assert self._config is not None  # noqa: S101 - for the type checker
        connection = ServerConnection(config=self._config, server_state=self._state, app_state={})
        connection.on_bad_request = lambda: self._on_bad_connection(endpoints.NOT_HTTP)
        if self._tls is not None:
            connection.on_unused = self._left_unused
        return connection

    def _left_unused(self, unknown_name: str | None) -> None:
        self._on_bad_connection(endpoints.unknown_name(unknown_name) if unknown_name else endpoints.UNUSED_TLS)


_unknown_names: Final[WeakKeyDictionary[ssl.SSLObject, str]] = WeakKeyDictionary()
"""The hosts that clients asked for and that the certificate does not have."""


def note_unknown_names(context: ssl.SSLContext, hosts: Collection[str]) -> None:
    """Remember of each connection the host that its client asked for, if it is none of these."""
    known = {host.lower() for host in hosts}

    def note(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        if name is not None and name.lower() not in known and isinstance(connection, ssl.SSLObject):
            _unknown_names[connection] = name

    context.sni_callback = note


async def _first_byte(connected: socket.socket) -> int | None:
    """Wait for the first byte and leave it unread; None when there is none."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connected, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connected)
    first = connected.recv(1, socket.MSG_PEEK)
    return first[0] if first else None


async def _refuse_plain_http(connected: socket.socket) -> None:
    body = endpoints.error_body(endpoints.PLAIN_HTTP)
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    loop = asyncio.get_running_loop()
    with connected:
        await loop.sock_recv(connected, 65536)  # unread bytes would make the close a reset, and the answer be lost
        await loop.sock_sendall(connected, head.encode() + b"Connection: close\r\n\r\n" + body)
        connected.shutdown(socket.SHUT_WR)


async def _end_connections(state: ServerState, grace: float) -> None:
    for connection in cast("list[ServerConnection]", list(state.connections)):
        if not connection.transport.is_closing():  # once closed twice, a TLS connection cannot be aborted
            connection.shutdown()
    if state.tasks and grace > 0:
        await asyncio.wait(set(state.tasks), timeout=grace)
    # TLS connections would wait half a minute for the other side's farewell.
    for connection in cast("list[ServerConnection]", list(state.connections)):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(set(state.tasks), timeout=_NOTICE)
    for task in list(state.tasks):
        task.cancel()
    while state.tasks or state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)


def _bind(host: str, port: int) -> socket.socket:
    """Return a bound socket. A port that is named, not chosen by the system, stays bound when nothing listens on it."""
    for _ in range(_TRIES if port == 0 else 0):
        with _bound(host, 0) as chosen:
            free = chosen.getsockname()[1]
        with contextlib.suppress(OSError):
            return _bound(host, free)
    return _bound(host, port)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left at 0 asyncio does not set TCP_NODELAY, and every second write waits 40 ms for an ACK.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
