"""A worker that sends requests one by one over a kept-alive TLS connection, for tests of the runtime."""

import http.client
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from cm_exec.local_runtime import LocalRuntime

OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes


class ManualWorker:
    """Sends single requests over one connection."""

    def __init__(self, runtime: LocalRuntime, *, token: str | None = None) -> None:
        variables = runtime.environment()
        self.token = runtime.token if token is None else token
        self._job = urlsplit(variables["GET_JOB_URI"])
        self._paths = {
            name: urlsplit(variables[name]).path
            for name in ("POST_RESULT_URI", "POST_SCHEMA_URI", "RESTART_NOTIFICATION_URI")
        }
        context = ssl.create_default_context(cafile=variables["DEFAULT_CA_PATH"])
        self.connection = http.client.HTTPSConnection(
            self._job.hostname or "", self._job.port, context=context, timeout=30
        )

    def poll(self) -> Answer:
        return self.request("GET", self._job.path)

    def take(self) -> dict[str, Any]:
        """Poll until there is a job, and return its members."""
        while (answer := self.poll()).status == 204:
            pass
        assert answer.status == 200, answer
        members: dict[str, Any] = json.loads(answer.body)["computeModuleJobV1"]
        return members

    def post_result(self, job_id: str, body: bytes | Iterable[bytes]) -> Answer:
        """Post a result; an iterable is sent chunked."""
        path = f"{self._paths['POST_RESULT_URI']}/{quote(job_id, safe='')}"
        return self.request("POST", path, body, OCTETS)

    def post_schemas(self, body: bytes) -> Answer:
        return self.request("POST", self._paths["POST_SCHEMA_URI"], body, {"Content-Type": "application/json"})

    def notify_restart(self) -> Answer:
        return self.request("POST", self._paths["RESTART_NOTIFICATION_URI"], b"")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        chunked = body is not None and not isinstance(body, bytes)
        sent = {"Module-Auth-Token": self.token, **(headers or {})}
        if chunked:
            sent["Transfer-Encoding"] = "chunked"
        self.connection.request(method, path, body, sent, encode_chunked=chunked)
        response = self.connection.getresponse()
        return Answer(status=response.status, body=response.read())

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
