"""Explanations of what a new client does wrong first: values in, one sentence out."""

import difflib
import hmac
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

PLAIN_HTTP: Final = "plain HTTP on the TLS port: use https:// and trust the CA in the file that DEFAULT_CA_PATH names"
UNEXPECTED_TLS: Final = "TLS on the plain port: use http:// there, or the https:// address of GET_JOB_URI"
UNUSED_TLS: Final = (
    "a client connected with TLS and left without a request: it probably does not trust the CA in the file that "
    "DEFAULT_CA_PATH names (trustStorePath in the connection file)"
)
TOKEN_HEADER: Final = "module-auth-token"  # noqa: S105 - a header's name

_TRUST: Final = (
    "the client does not trust the runtime's certificate; let it trust the CA in the file that DEFAULT_CA_PATH names "
    "(trustStorePath in the connection file)"
)
_TLS_ALERTS: Final = {
    "UNKNOWN_CA": _TRUST,
    "CERTIFICATE_UNKNOWN": _TRUST,
    "BAD_CERTIFICATE": f"{_TRUST}, and connect to a name that the certificate has, such as localhost",
    "UNSUPPORTED_PROTOCOL": "the client speaks no TLS version that the runtime accepts; TLS 1.2 or 1.3 is needed",
    "PROTOCOL_VERSION": "the client speaks no TLS version that the runtime accepts; TLS 1.2 or 1.3 is needed",
    "NO_SHARED_CIPHER": "the client offers no cipher that the runtime accepts",
}
LEFT_TLS: Final = f"the TLS handshake failed: the client closed the connection; probably {_TRUST}"
GUESSES: Final = frozenset({UNUSED_TLS, LEFT_TLS})
"""What can have another reason than an error of the client."""


def tls_failure(reason: str | None) -> str:
    """Explain a failed TLS handshake. `reason` is OpenSSL's, such as TLSV1_ALERT_UNKNOWN_CA; None: it just ended."""
    if reason is None or "EOF" in reason:
        return LEFT_TLS
    why = next((text for alert, text in _TLS_ALERTS.items() if alert in reason), "see the client's own message")
    return f"the TLS handshake failed ({reason}): {why}"


def wrong_token(headers: Mapping[bytes, bytes], *, path: str, earlier: Collection[bytes]) -> str:
    """Explain why the token of a request is refused. `path` is the token file's; `earlier` are replaced tokens."""
    given = headers.get(TOKEN_HEADER.encode())
    if given is None:
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


def wrong_address(method: str, path: str, known: Mapping[str, str]) -> str:
    """Explain a request that is none of the protocol's. `known` are the right paths with their methods."""
    asked = f"{method} {path}"
    if path in known:
        return f"{asked}: the method must be {known[path]}"
    results = next(right for right in known if right.endswith("/results"))
    if path.rstrip("/") in known or path == f"{results}/":
        if path.rstrip("/") == results:
            return f"{asked}: the job's id is missing; send POST {results}/JOB_ID"
        return f"{asked}: leave out the slash at the end"
    right = _nearest(path, known)
    suffix = "/JOB_ID" if right == results else ""
    return (
        f"{asked} is no request of the protocol; did you mean {known[right]} {right}{suffix}? "
        "Take addresses from GET_JOB_URI and the others, or from the connection file"
    )


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
