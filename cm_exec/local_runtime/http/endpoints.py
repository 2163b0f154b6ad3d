"""Where the protocol's requests go: the TLS API and the plain API, called V1 and V2 after the platform's variables."""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from cm_exec.local_runtime.core.faults import ProtocolEndpoint


@dataclass(frozen=True, slots=True)
class ProtocolDialect:
    """One of the two APIs. `root` stands before each path.

    The plain API hands out jobs without their envelope, and answers a result with 202. It asks for no token, so its
    root is a secret: other accounts of this machine can reach the port. Old clients build its addresses themselves
    from `/job` and send the token; the newest Java SDK still does so for `/restart-notify`, without a token.
    """

    root: str
    plain: bool = False

    @property
    def job(self) -> str:
        """The path of polls."""
        return f"{self.root}/job"

    @property
    def results(self) -> str:
        """The path of results, without the job's id."""
        return f"{self.root}/results"

    @property
    def schemas(self) -> str:
        """The path of the functions' schemas."""
        return f"{self.root}/schemas"

    @property
    def restart(self) -> str:
        """The path of the restart notification."""
        return f"{self.root}/restart-notify"

    @property
    def accepted(self) -> HTTPStatus:
        """The status of a result that was taken."""
        return HTTPStatus.ACCEPTED if self.plain else HTTPStatus.NO_CONTENT

    @property
    def known(self) -> Mapping[str, str]:
        """The right paths with their methods."""
        return {self.job: "GET", self.results: "POST", self.schemas: "POST", self.restart: "POST"}

    def endpoint_of(self, method: str, path: str) -> ProtocolEndpoint | None:
        """Return which of the protocol's requests this is, None for any other."""
        path = self._rooted(path)
        if method == "POST" and path.startswith(f"{self.results}/") and path != f"{self.results}/":
            return ProtocolEndpoint.RESULT
        fixed = {
            ("GET", self.job): ProtocolEndpoint.POLL,
            ("POST", self.schemas): ProtocolEndpoint.SCHEMAS,
            ("POST", self.restart): ProtocolEndpoint.RESTART,
        }
        return fixed.get((method, path))

    def needs_token(self, path: str) -> bool:
        """Return whether a request must carry the token."""
        return not (self.plain and (path.startswith(f"{self.root}/") or path == "/restart-notify"))

    def job_id_of(self, raw_path: bytes) -> str:
        """Return the job's id in the path of a posted result, percent-decoded."""
        return urllib.parse.unquote(self.raw_job_id_of(raw_path))

    def raw_job_id_of(self, raw_path: bytes) -> str:
        """Return the job's id as in the path."""
        return self._rooted(raw_path.decode("ascii"))[len(self.results) + 1 :]

    def _rooted(self, path: str) -> str:
        if self.plain and not path.startswith(f"{self.root}/"):
            return self.root + path
        return path


V1: Final = ProtocolDialect("/interactive-module/api/internal-query")
