"""What can go wrong between the launcher and the runtime."""


class NotReadyError(Exception):
    """Raised when a file that the platform writes is missing or incomplete."""


class RequestError(Exception):
    """Raised when a request gets no complete response. The message says why.

    `never_connected`: nobody accepted the connection, or it was lost before the runtime can have worked on the
    request. `untrusted`: the connection was closed before anything was sent. `timed_out`: the deadline has passed.
    `exhausted`: no descriptor was left for another connection. `never_sent`: the connection was closed before a byte
    of the request was sent. `partial`: what came of the response's body.
    """

    def __init__(
        self,
        message: str,
        *,
        never_connected: bool = False,
        untrusted: bool = False,
        timed_out: bool = False,
        exhausted: bool = False,
        never_sent: bool = False,
        partial: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.never_connected = never_connected
        self.untrusted = untrusted
        self.timed_out = timed_out
        self.exhausted = exhausted
        self.never_sent = never_sent
        self.partial = partial
