"""A listening port on loopback, served by uvicorn; it can be closed and opened again under the same number."""

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any, Final, cast

from starlette.types import ASGIApp, Scope
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_KEEP_ALIVE: Final = 600
"""Seconds that an idle connection stays open: workers keep theirs, and must not meet it just closing."""
_TO_NOTICE: Final = 5.0
"""Seconds in which what serves a connection ends after the connection has."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ServerConnection(HttpToolsProtocol):
    """One worker's or caller's connection, made known to the application in its scope."""

    lost: asyncio.Future[None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol and httptools."""
        super().connection_made(transport)
        self.lost = self.loop.create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol and httptools."""
        super().connection_lost(exc)
        if not self.lost.done():
            self.lost.set_result(None)

    def on_message_begin(self) -> None:
        """See asyncio.Protocol and httptools."""
        super().on_message_begin()
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
    """The connection that a request came over."""
    return cast("ServerConnection", scope[_CONNECTION])


class Listener:
    """A loopback port. `port` is known at once; nothing is accepted before `open`."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._tls = tls
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server: Server | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    async def open(self, application: ASGIApp) -> None:
        """Accept connections, for this application."""
        if self._server is not None:
            return
        server = Server(self._config(application))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[self._socket])
        self._server = server

    async def close(self, *, grace: float = 0.0) -> None:
        """Refuse connections from now on; what is being answered has `grace` seconds. The port stays ours."""
        server, self._server = self._server, None
        if server is None:
            return
        for accepting in server.servers:
            accepting.close()
        self._socket.close()
        self._socket = _bind(self._host, self.port)
        await _end_connections(server, grace)

    def release(self) -> None:
        """Give the port back. Only after `close`."""
        self._socket.close()

    def _config(self, application: ASGIApp) -> Config:
        tls = self._tls
        return Config(
            application,
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
            ssl_context_factory=(lambda _config, _default: tls) if tls else None,
            backlog=1024,
        )


async def _end_connections(server: Server, grace: float) -> None:
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks and grace > 0:
        await asyncio.wait(set(state.tasks), timeout=grace)
    # TLS connections would wait half a minute for the other side's farewell.
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(set(state.tasks), timeout=_TO_NOTICE)
    for task in list(state.tasks):
        task.cancel()
    while state.tasks or state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)


def _bind(host: str, port: int) -> socket.socket:
    # With the protocol left at 0 asyncio does not set TCP_NODELAY, and every second write waits 40 ms for an ACK.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
