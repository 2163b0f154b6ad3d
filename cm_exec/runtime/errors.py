"""What can go wrong between the launcher and the runtime."""

from typing import ClassVar


class NoRuntimeError(Exception):
    """The environment does not say, or not usably, where the runtime is."""

    exit_code: ClassVar = 4


class RuntimeRefusedError(Exception):
    """The runtime turned the worker away for so long that nothing is to be hoped for."""

    exit_code: ClassVar = 5


class NotReadyError(Exception):
    """A file that the platform writes is not there yet, or not whole."""


class ExchangeError(Exception):
    """A request got no whole answer. The message says why, in plain words.

    `never_connected` tells that nobody accepted the connection; `untrusted` that it was given up before anything
    was sent on it; `partial` is what came of the answer's body.
    """

    def __init__(
        self, message: str, *, never_connected: bool = False, untrusted: bool = False, partial: bytes = b""
    ) -> None:
        super().__init__(message)
        self.never_connected = never_connected
        self.untrusted = untrusted
        self.partial = partial
