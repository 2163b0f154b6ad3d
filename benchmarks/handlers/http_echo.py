"""An HTTP server that returns the body of each request: `http_echo.py PORT`, on loopback."""

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Echo(asyncio.Protocol):
    """One connection; its requests have a Content-Length or no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
            after = end + 4 + size
            if len(self.received) < after:
                return
            self.transport.write(HEAD % size + self.received[end + 4 : after])
            del self.received[:after]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
