"""A loopback port that can refuse connections for some time."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class Listener:
    """Accepts connections on one port of 127.0.0.1 and gives each to `serve` in a thread of its own.

    A second socket is bound to the port all the time and never listens: it keeps the port ours while nobody
    accepts, so that connections are refused and no other test can take it.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        listening = _bound(self.port)
        listening.listen(128)
        self._socket = listening
        self._acceptor = threading.Thread(target=self._accept, args=(listening,), daemon=True)
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse connections until `open` is called again."""
        if self._socket is not None and self._acceptor is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Release the port. The connections must be shut before."""
        self.refuse()
        self._holder.close()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads), "a connection of the runtime hangs"

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port for a server that binds it with SO_REUSEPORT."""
    with _bound(0) as holder:
        yield holder.getsockname()[1]


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock
