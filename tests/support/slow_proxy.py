"""A proxy between a client and a runtime that forwards bytes in small pieces."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class SlowProxy:
    """Listens on `port` of 127.0.0.1 for one client, and forwards at most `size` bytes with each write.

    Each piece is sent alone, so that a TLS record comes in parts.
    """

    def __init__(self, to_port: int, *, size: int) -> None:
        self._size = size
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._beyond = socket.create_connection(("127.0.0.1", to_port))
        self._client: socket.socket | None = None
        self._threads = [threading.Thread(target=self._run, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._server, self._beyond, self._client):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        self._client = client
        back = threading.Thread(target=self._pass_on, args=(self._beyond, client), daemon=True)
        self._threads.append(back)
        back.start()
        self._pass_on(client, self._beyond)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := source.recv(self._size):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
