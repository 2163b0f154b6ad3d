"""The protocol's endpoints: their paths in both APIs, and explanations of what a new client does wrong first."""

import difflib
import hmac
import re
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from cm_exec.local_runtime.core.faults import ProtocolEndpoint

_ENDPOINTS: Final = {
    ProtocolEndpoint.POLL: ("GET", "job"),
    ProtocolEndpoint.RESULT: ("POST", "results"),
    ProtocolEndpoint.SCHEMAS: ("POST", "schemas"),
    ProtocolEndpoint.RESTART: ("POST", "restart-notify"),
}


@dataclass(frozen=True, slots=True)
class ProtocolDialect:
    """One of the two APIs. `root` stands before each path.

    The plain API hands out jobs without their envelope, and answers a result with 202. It asks for no token, so its
    root is a secret: other accounts of this machine can reach the port. Old clients build its addresses themselves
    from `/job` and send the token; the newest Java SDK still does so for `/restart-notify`, without a token.
    """

    root: str
    plain: bool = False

    def path(self, endpoint: ProtocolEndpoint) -> str:
        """Return the path of an endpoint, of results without the job's id."""
        return f"{self.root}/{_ENDPOINTS[endpoint][1]}"

    @property
    def accepted(self) -> int:
        """The status of a result that was taken."""
        return 202 if self.plain else 204

    def known_beside(self, path: str) -> Mapping[str, str]:
        """Return the right paths with their methods. Who does not know the root of the plain API gets them without."""
        root = "" if self.plain and not path.startswith(f"{self.root}/") else self.root
        return {f"{root}/{end}": method for method, end in _ENDPOINTS.values()}

    def endpoint_of(self, method: str, path: str) -> ProtocolEndpoint | None:
        """Return which of the protocol's requests this is, None for any other."""
        path = self._rooted(path)
        results = f"{self.path(ProtocolEndpoint.RESULT)}/"
        if path.startswith(results):
            return ProtocolEndpoint.RESULT if method == "POST" and path != results else None
        endpoints = (each for each in ProtocolEndpoint if each is not ProtocolEndpoint.RESULT)
        return next((each for each in endpoints if (method, path) == (_ENDPOINTS[each][0], self.path(each))), None)

    def needs_token(self, path: str) -> bool:
        """Return whether a request must carry the token."""
        return not (self.plain and (path.startswith(f"{self.root}/") or path == "/restart-notify"))

    def job_id_of(self, raw_path: bytes) -> str:
        """Return the job's id in the path of a posted result, percent-decoded."""
        return urllib.parse.unquote(self.raw_job_id_of(raw_path))

    def raw_job_id_of(self, raw_path: bytes) -> str:
        """Return the job's id as in the path."""
        return self._rooted(raw_path.decode("ascii"))[len(self.path(ProtocolEndpoint.RESULT)) + 1 :]

    def _rooted(self, path: str) -> str:
        if self.plain and not path.startswith(f"{self.root}/"):
            return self.root + path
        return path


V1: Final = ProtocolDialect("/interactive-module/api/internal-query")


PLAIN_HTTP: Final = "plain HTTP on the TLS port: use https:// and trust the CA in the file that DEFAULT_CA_PATH names"
UNEXPECTED_TLS: Final = "TLS on the plain port: use http:// there, or the https:// address of GET_JOB_URI"
NOT_HTTP: Final = "a request is not valid HTTP/1.1: it is HTTP/2, for instance, or has a line break in a header"
UNUSED_TLS: Final = (
    "a client connected with TLS and left without a request: it probably does not trust the CA in the file that "
    "DEFAULT_CA_PATH names (trustStorePath in the connection file)"
)
TOKEN_HEADER: Final = "module-auth-token"  # noqa: S105 - a header's name

_TRUST: Final = (
    "the client does not trust the runtime's certificate; let it trust the CA in the file that DEFAULT_CA_PATH names "
    "(trustStorePath in the connection file)"
)
_TRUST_OR_NAME: Final = f"{_TRUST}, and connect to a name that the certificate has, such as localhost"
_TLS_ALERTS: Final = {
    "UNKNOWN_CA": _TRUST,
    "CERTIFICATE_UNKNOWN": _TRUST_OR_NAME,
    "BAD_CERTIFICATE": _TRUST_OR_NAME,
    "UNSUPPORTED_PROTOCOL": "the client speaks no TLS version that the runtime accepts; TLS 1.2 or 1.3 is needed",
    "PROTOCOL_VERSION": "the client speaks no TLS version that the runtime accepts; TLS 1.2 or 1.3 is needed",
    "NO_SHARED_CIPHER": "the client offers no cipher that the runtime accepts",
}
LEFT_TLS: Final = f"the TLS handshake failed: the client closed the connection; probably {_TRUST}"
GUESSES: Final = frozenset({UNUSED_TLS, LEFT_TLS})
"""What can have another reason than an error of the client."""


def unknown_name(name: str) -> str:
    """Explain a client that asked for a host that the certificate does not have, and left."""
    return (
        f"a client connected to {name!r} and left: the certificate does not have this name; connect to that of "
        "GET_JOB_URI, or add the name with --name"
    )


def tls_failure(reason: str | None) -> str:
    """Explain a failed TLS handshake. `reason` is OpenSSL's, such as TLSV1_ALERT_UNKNOWN_CA; None: it just ended."""
    if reason is None or "EOF" in reason:
        return LEFT_TLS
    why = next((text for alert, text in _TLS_ALERTS.items() if alert in reason), "see the client's own message")
    return f"the TLS handshake failed ({reason}): {why}"


def wrong_token(headers: Mapping[bytes, bytes], *, path: str, earlier: Collection[bytes]) -> str:
    """Explain why the token of a request is refused. `path` is the token file's; `earlier` are replaced tokens."""
    given = headers.get(TOKEN_HEADER.encode(), b"")
    if not given:
        if b"authorization" in headers:
            return "the token came as Authorization; it must be in the header Module-Auth-Token"
        return "no token: send the content of the file that MODULE_AUTH_TOKEN names in the header Module-Auth-Token"
    text = given.decode("latin-1").strip()
    if text in {path, "MODULE_AUTH_TOKEN", "$MODULE_AUTH_TOKEN"} or (text.startswith("/") and "/" in text[1:]):
        return "Module-Auth-Token holds the path of the token's file; send the content of that file"
    if text.lower().startswith("bearer "):
        return "Module-Auth-Token starts with 'Bearer'; send the token alone"
    if any(hmac.compare_digest(given, token) for token in earlier):
        return "Module-Auth-Token holds an earlier token; read the file that MODULE_AUTH_TOKEN names again"
    return "Module-Auth-Token holds a wrong token; send the content of the file that MODULE_AUTH_TOKEN names"


def wrong_address(method: str, path: str, known: Mapping[str, str]) -> tuple[str, str | None]:
    """Explain a request that is none of the protocol's. `known` are the right paths with their methods.

    Returns a sentence, and the right method if only that is wrong.
    """
    asked = f"{method} {path}"
    results = next(right for right in known if right.endswith("/results"))
    if path.rstrip("/") == results:
        return f"{asked}: the job's id is missing; send POST {results}/JOB_ID", None
    if path in known or path.startswith(f"{results}/"):
        right = known.get(path, "POST")
        return f"{asked}: the method must be {right}", right
    if path.rstrip("/") in known:
        return f"{asked}: leave out the slash at the end", None
    if results == "/results" and _SOME_ROOT.match(path):
        return f"{asked}: this address is of another runtime; read GET_JOB_URI_V2 and the others again", None
    right = _nearest(path, known)
    suffix = "/JOB_ID" if right == results else ""
    return (
        f"{asked} is no request of the protocol; did you mean {known[right]} {right}{suffix}? "
        "Take addresses from GET_JOB_URI and the others, or from the connection file"
    ), None


_SOME_ROOT: Final = re.compile(r"/[0-9a-f]{32}/")
_HINTS: Final = {"result": "results", "schema": "schemas", "restart": "restart-notify", "job": "job"}


def _nearest(path: str, known: Mapping[str, str]) -> str:
    """Return the right path that a wrong one was meant to be: /api/v1/getJob is in Foundry's sample client."""
    for hint, end in _HINTS.items():
        if hint in path.lower():
            return next(right for right in known if right.endswith(f"/{end}"))
    return difflib.get_close_matches(path, known, n=1, cutoff=0.0)[0]


def wrong_job_id(raw_id: str) -> str | None:
    """Explain an id that no job can have; None when it may be one."""
    if raw_id.startswith("/"):
        return "a double slash stands before the job's id"
    if raw_id.endswith("/"):
        return "a slash stands after the job's id; leave it out"
    if raw_id in {"{jobId}", "JOB_ID", "undefined", "null", "None"}:
        return f"{raw_id!r} stands where the job's id belongs"
    return None


def error_body(sentence: str) -> bytes:
    """Return the body of an error response."""
    return msgspec.json.encode({"error": sentence})
