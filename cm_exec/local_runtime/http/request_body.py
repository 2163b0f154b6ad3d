"""A request's body as it comes in."""

from starlette.types import Receive


class RequestBody:
    """`cut` says that the connection ended before the body did."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True
        self.cut = False

    async def read(self) -> bytes:
        """The next piece; empty at the end, whole or cut."""
        while self._more:
            message = await self._receive()
            self.cut = message["type"] == "http.disconnect"
            self._more = not self.cut and message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece:
                return piece
        return b""

    async def whole(self) -> bytes:
        """All that is left of it."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def discard(self) -> None:
        """Read to the end, and keep nothing."""
        while await self.read():
            pass
