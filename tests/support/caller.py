"""A caller of the local runtime's functions, such as curl: plain HTTP with the token, without a browser's headers."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cm_exec.local_runtime import LocalRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Caller:
    runtime: LocalRuntime
    headers: dict[str, str] = field(default_factory=dict)
    has_token: bool = True

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, None, **headers)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Reply:
        return self.request("POST", path, body, **headers)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request. Header names have underscores instead of dashes."""
        with self.open(method, path, body, **headers) as response:
            return Reply(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )

    @contextmanager
    def open(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and yield its response to be read as it comes."""
        address = urlsplit(self.runtime.callers.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        token = {"Authorization": f"Bearer {self.runtime.callers.token}"} if self.has_token else {}
        sent = token | self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, sent)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()


@contextmanager
def events(caller: Caller) -> Iterator[Iterator[tuple[str, Any]]]:
    """Yield the runtime's server-sent events: kind and data."""
    with caller.open("GET", "/events") as response:

        def read() -> Iterator[tuple[str, Any]]:
            kind = ""
            while line := response.readline().decode().rstrip("\n"):
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    assert response.readline() == b"\n"
                    yield kind, json.loads(line.removeprefix("data: "))

        yield read()
