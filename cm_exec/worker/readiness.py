"""Report to `cm-exec ready` whether the worker polls.

The sign is an abstract Unix socket: it needs no file, so that it works on a read-only root and for any user, and it
vanishes with the process. Its name comes from the runtime's address, which all processes of the container share.
"""

import hashlib
import socket
from collections.abc import Mapping
from contextlib import suppress

from cm_exec.protocol.environment import CONNECTION_TO_RUNTIME, GET_JOB_URI


class ReadinessSign:
    """The sign of one worker."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._name = _socket_name(environ)
        self._socket: socket.socket | None = None

    def show(self, is_ready: bool) -> None:
        """Show the sign, or take it away."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if is_ready:
            with suppress(OSError):  # another worker of this runtime shows it already
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.bind(self._name)


def worker_is_ready(environ: Mapping[str, str]) -> bool:
    """Return whether a worker of this container polls its runtime."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_socket_name(environ))
        except OSError:
            return False
    return True


def _socket_name(environ: Mapping[str, str]) -> str:
    address = environ.get(GET_JOB_URI) or environ.get(CONNECTION_TO_RUNTIME) or ""
    return f"\0cm-exec-ready-{hashlib.sha256(address.encode()).hexdigest()[:32]}"
