"""One thread's way to the runtime, with the token on every request."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from cm_exec.runtime.connection import READ_TIMEOUT, Body, Connection
from cm_exec.runtime.errors import ExchangeError, NoRuntimeError, NotReadyError
from cm_exec.runtime.http import Answer, Headers
from cm_exec.runtime.location import Endpoint, Location, read_location
from cm_exec.runtime.tls import tls_context

log: Final = logging.getLogger(__name__)

Stopped = Callable[[float], bool]
"""Waits for at most that many seconds; True as soon as nobody wants to go on."""

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 5.0
"""Seconds between two tries: doubling from the one to the other."""


class Access:
    """Token and trust, read again from their files when the runtime does not accept them."""

    def __init__(self, environ: Mapping[str, str], location: Location) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._ca_pem = location.ca_pem
        self.token = location.token
        self.tls = tls_context(location.ca_pem)

    def renew(self) -> None:
        """Read token and CA again; what cannot be read stays as it was."""
        try:
            location = read_location(self._environ)
            with self._lock:
                if location.ca_pem != self._ca_pem:
                    self.tls, self._ca_pem = tls_context(location.ca_pem), location.ca_pem
                    log.info("the CA file has changed")
                if location.token != self.token:
                    self.token = location.token
                    log.info("the token has changed")
        except (NotReadyError, NoRuntimeError) as error:
            log.warning("token and CA cannot be read again: %s", error)


class Link:
    """One thread's kept-alive connections."""

    def __init__(self, access: Access, server_name: str | None, *, read_timeout: float = READ_TIMEOUT) -> None:
        self._access = access
        self._server_name = server_name
        self.read_timeout = read_timeout
        self._tls = access.tls
        self._connections: dict[tuple[str, int], Connection] = {}
        self._aborted = False

    def request(
        self, method: str, endpoint: Endpoint, *, path: str = "", body: Body | None = None, content_type: str = ""
    ) -> Answer:
        """Send one request, whatever its answer's status. Raises ExchangeError."""
        headers: Headers = (("Module-Auth-Token", self._access.token),)
        if content_type:
            headers += (("Content-Type", content_type),)
        connection = self._connection(endpoint)
        if self._aborted:
            raise ExchangeError("the request was given up")
        try:
            return connection.request(method, endpoint.path + path, headers, body)
        except ExchangeError as error:
            if error.untrusted:
                self._access.renew()
            raise

    def renew(self) -> None:
        """After a 401 or 403: read the token again."""
        self._access.renew()

    def abort(self) -> None:
        """Let what another thread waits for here fail now, and all that it asks for later."""
        self._aborted = True
        for connection in list(self._connections.values()):
            connection.abort()

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _connection(self, endpoint: Endpoint) -> Connection:
        if self._tls is not self._access.tls:
            self.close()
            self._tls = self._access.tls
        origin = (endpoint.host, endpoint.port)
        if origin not in self._connections:
            self._connections[origin] = Connection(endpoint, self._tls, self._server_name)
        self._connections[origin].read_timeout = self.read_timeout
        return self._connections[origin]
