"""The event loop of the runtime: TLS connections, and the orders of the benchmark on stdin.

It is one thread over epoll without a framework: asyncio's streams and an HTTP library cost more than the fastest
worker.
"""

import contextlib
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from benchmarks.payload import Payload
from benchmarks.runtime.connection import Connection, PeerGoneError, Request
from benchmarks.runtime.lane import NO_CONTENT, NOT_FOUND, Lane, Load, Measured

UNAUTHORIZED: Final = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
NOTHING_DROPPED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
TICK: Final = 0.05
"""Seconds between two checks of held polls and pauses."""


class Server:
    """Serves `https://localhost:<port>/<lane>/job` and so on until its stdin ends."""

    def __init__(self, context: ssl.SSLContext, token: str) -> None:
        self._context = context
        self._token_header = f"\r\nmodule-auth-token: {token}\r\n".lower().encode()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._lanes: dict[str, Lane] = {}
        self._orders = bytearray()

    def serve(self) -> None:
        """Announce the port on stdout, then serve until stdin ends."""
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        _send({"port": self._listener.getsockname()[1]})
        next_tick = time.monotonic()
        while True:
            for descriptor, event in self._epoll.poll(TICK):
                if descriptor == sys.stdin.fileno():
                    if not self._read_orders():
                        return
                else:
                    self._ready(descriptor, event)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK
                self._tick()

    def _ready(self, descriptor: int, event: int) -> None:
        if descriptor == self._listener.fileno():
            self._accept()
            return
        connection = self._connections.get(descriptor)
        if connection is None:
            return
        try:
            self._serve(connection, event)
        except PeerGoneError:
            self._drop(descriptor, connection)

    def _serve(self, connection: Connection, event: int) -> None:
        if not connection.established and not connection.handshake():
            return
        if event & select.EPOLLOUT:
            connection.flush()
        if event & ~select.EPOLLOUT:
            for request in connection.receive():
                self._answer(request, connection)

    def _answer(self, request: Request, connection: Connection) -> None:
        if not request.authorized:
            connection.send(UNAUTHORIZED)
            return
        _, name, endpoint, *rest = request.path.split("/")
        lane = self._lanes.get(name)
        if lane is None:
            connection.send(NOT_FOUND)
        elif endpoint == "job":
            lane.poll(connection)
        elif endpoint == "results":
            lane.result(rest[0], request.body, connection)
        elif endpoint == "restart-notify":
            connection.send(NOTHING_DROPPED)
        else:
            connection.send(NO_CONTENT)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            plain, _ = self._listener.accept()
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wrapped = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self._connections[wrapped.fileno()] = Connection(wrapped, self._token_header, self._room_watcher(wrapped))
            self._epoll.register(wrapped, select.EPOLLIN)

    def _room_watcher(self, wrapped: ssl.SSLSocket) -> Callable[[bool], None]:
        def watch(room: bool) -> None:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.modify(wrapped, select.EPOLLIN | (select.EPOLLOUT if room else 0))

        return watch

    def _drop(self, descriptor: int, connection: Connection) -> None:
        del self._connections[descriptor]
        for lane in self._lanes.values():
            lane.forget(connection)
        self._epoll.unregister(descriptor)
        connection.close()

    def _tick(self) -> None:
        for lane in self._lanes.values():
            lane.tick()

    def _read_orders(self) -> bool:
        """Execute the orders on stdin, one JSON object per line. Return False at its end."""
        data = os.read(sys.stdin.fileno(), 65536)
        self._orders += data
        *lines, self._orders = self._orders.split(b"\n")
        for line in lines:
            self._order(json.loads(line))
        return bool(data)

    def _order(self, order: dict[str, Any]) -> None:
        name = order["lane"]
        if order["do"] == "open":
            self._lanes[name] = Lane(
                name,
                clock=time.monotonic_ns,
                cpu_clock=time.process_time_ns,
                first_poll=lambda lane, at: _send({"first_poll": lane, "at": at}),
                finished=self._finished,
            )
        elif order["do"] == "close":
            self._lanes.pop(name).release()
        else:
            payload = Payload(**order.pop("payload"))
            self._lanes[name].start(Load(payload=payload, **order["load"]))

    def _finished(self, measured: Measured) -> None:
        _send({"measured": asdict(measured)})


def _send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
