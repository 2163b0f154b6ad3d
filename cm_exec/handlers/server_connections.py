"""Connections with the server of an HTTP service."""

import asyncio
import errno
import os
import socket
from typing import Final

from cm_exec.config import ServerAddress
from cm_exec.runtime.connection import Connection

_REUSE_SECONDS: Final = 1.0
"""Idle seconds after which a connection is not used again: the server may close it while a request is sent."""

_BUSY_PAUSE: Final = 0.01
"""Seconds until the next try to connect to a Unix socket whose server has not accepted the connections before."""


class ServerConnections:
    """Opens connections with one server, and keeps them for a moment for its next requests."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self.host = _host_header(address)
        self._loop = asyncio.get_running_loop()
        self._idle: list[tuple[float, Connection]] = []

    def kept(self) -> Connection | None:
        """Return a connection that can be used again."""
        while self._idle:
            since, connection = self._idle.pop()
            if self._loop.time() - since < _REUSE_SECONDS and connection.is_reusable(checked=True):
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        """Take a connection back, if it is open."""
        if connection.is_open:
            self._idle.append((self._loop.time(), connection))

    def close(self) -> None:
        """Close those that are kept."""
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def connect(self) -> Connection:
        """Open a connection. Raises OSError."""
        address = self._address
        if address.socket:
            return await self._connect_to(socket.AF_UNIX, address.socket)
        if address.host != "localhost":
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            return await self._connect_to(family, (address.host, address.port))
        try:
            return await self._connect_to(socket.AF_INET, ("127.0.0.1", address.port))
        except ConnectionRefusedError as refused:
            try:  # Node listens on ::1 only if its host is "localhost"
                return await self._connect_to(socket.AF_INET6, ("::1", address.port))
            except OSError:
                raise refused from None

    async def _connect_to(self, family: socket.AddressFamily, place: str | tuple[str, int]) -> Connection:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (problem := sock.connect_ex(place)) == errno.EAGAIN:  # noqa: ASYNC110 - a Unix socket
                await asyncio.sleep(_BUSY_PAUSE)
            if problem == errno.EINPROGRESS:
                await self._writable(sock)
                problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise OSError(problem, os.strerror(problem))  # noqa: TRY301
        except BaseException:
            sock.close()
            raise
        return Connection(sock, self.host, accepts_early=True)  # a server need not read a query to answer it

    async def _writable(self, sock: socket.socket) -> None:
        writable = asyncio.Event()
        self._loop.add_writer(sock, writable.set)
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(sock)


def _host_header(address: ServerAddress) -> str:
    if address.socket:
        return "localhost"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
