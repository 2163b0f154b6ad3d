"""A TLS socket that waits as few times as it must.

With a timeout on the socket, CPython's ssl asks the kernel whether it may write before each write, and tries each read
before it waits for it: five system calls a request where three are needed, each of them a chance to lose the GIL.
"""

import select
import ssl
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Wire:
    """Sends and receives with `timeout` seconds for each wait. Raises TimeoutError, OSError."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.timeout = 0.0
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except ssl.SSLWantWriteError:
                self._wait(self._writable)
            except ssl.SSLWantReadError:
                self._wait(self._readable)

    def receive(self, size: int) -> bytes:
        """What comes next, `size` bytes at most; nothing at the end of the stream."""
        return self._receive(lambda: self._sock.recv(size))

    def receive_into(self, view: memoryview) -> int:
        """Fill the buffer as far as it goes at once; how many bytes that are, 0 at the end of the stream."""
        return self._receive(lambda: self._sock.recv_into(view))

    def _receive(self, attempt: Callable[[], T]) -> T:
        if not self._sock.pending():
            self._wait(self._readable)
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:  # a part of a record, or one that carries no data
                self._wait(self._readable)
            except ssl.SSLWantWriteError:
                self._wait(self._writable)

    def is_quiet(self) -> bool:
        """Whether nothing has come that nobody asked for, the end of the stream included."""
        return not self._sock.pending() and not self._readable.poll(0)

    def _wait(self, ready: select.poll) -> None:
        if not ready.poll(int(self.timeout * 1000)):
            raise TimeoutError
