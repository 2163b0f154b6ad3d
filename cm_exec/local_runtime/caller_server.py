"""The port for callers and the console, and the guard that decides who may use it."""

import hmac
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cm_exec.local_runtime.answers import BY_PROGRAM, JsonAnswer
from cm_exec.local_runtime.caller_api import CallerApi
from cm_exec.local_runtime.listener import Listener
from cm_exec.local_runtime.views import RuntimeInfo
from cm_exec.local_runtime.worker_files import CONTAINER_HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Judges requests to `port`. `token` opens it; `names` are the hosts under which it is reached."""

    token: str
    port: int
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")

    @property
    def cookie_name(self) -> str:
        """Return a name with the port, since a browser sends a cookie to all ports of a host."""
        return f"cm-exec-{self.port}"

    def judge(self, method: str, path: str, headers: Mapping[str, str], *, public: bool) -> HTTPStatus | None:
        """Return the status that refuses a request, None if it is allowed. Header names are in lower case.

        What comes from a foreign page or under a foreign name is forbidden. `public` files need no token.
        """
        hosts = {f"{name}:{self.port}" for name in self.names}
        if headers.get("host", "").lower() not in hosts:
            return HTTPStatus.FORBIDDEN
        if "origin" in headers and headers["origin"].lower() not in {f"http://{host}" for host in hosts}:
            return HTTPStatus.FORBIDDEN
        if not self._same_origin(method, path, headers):
            return HTTPStatus.FORBIDDEN
        if public or self.has_bearer(headers) or self._has_cookie(headers):
            return None
        return HTTPStatus.UNAUTHORIZED

    def is_token(self, given: str) -> bool:
        """Return whether this is the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def has_bearer(self, headers: Mapping[str, str]) -> bool:
        """Return whether a program sent the token."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def _has_cookie(self, headers: Mapping[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name)
        except CookieError:
            return False
        return cookie is not None and self.is_token(cookie.value)

    @staticmethod
    def _same_origin(method: str, path: str, headers: Mapping[str, str]) -> bool:
        site = headers.get("sec-fetch-site")
        if site in {None, "same-origin"}:
            return True
        if method not in {"GET", "HEAD"}:
            return False
        # "none": the person typed the address or opened a bookmark. A link from elsewhere may lead to the front page.
        return site == "none" or (path == "/" and headers.get("sec-fetch-mode") == "navigate")


_DIRECTIVES: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src blob:",
    "connect-src 'self'",
    "font-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_ON_EVERY_ANSWER: Final = (
    (b"content-security-policy", "; ".join(_DIRECTIVES).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_CODE_SECONDS: Final = 120.0
"""Seconds in which a browser may use the code that it was started with: a cold one takes its time."""
_TABLES: Final = tuple(Path("/proc/net", name) for name in ("tcp", "tcp6"))
_ESTABLISHED: Final = "01"
_IPV6_BYTES: Final = 16
_API_ROOTS: Final = ("/functions", "/jobs", "/state", "/log", "/faults", "/events")


class CallerServer:
    """Serves the callers of `info` on a port, once `listener` is opened for `application`.

    `address` is what the port listens on; `names` are further hosts under which callers reach it.
    """

    def __init__(self, info: RuntimeInfo, listener: Listener, *, address: str, names: Sequence[str]) -> None:
        self.token = info.token
        self.listener = listener
        host = "127.0.0.1" if address in {"0.0.0.0", "::"} else address  # noqa: S104 - compared, not bound
        self._host = f"[{host}]" if ":" in host else host
        own = ["localhost", "127.0.0.1", "[::1]", self._host, *(name.lower() for name in names)]
        if address != "127.0.0.1":
            own.append(CONTAINER_HOST)
        self._guard = Guard(token=self.token, port=listener.port, names=tuple(own))
        self._api = CallerApi(info).application
        self._codes: dict[str, float] = {}
        """The codes that let a browser in, each once, and until when."""

    @property
    def url(self) -> str:
        """Where callers find the functions."""
        return f"http://{self._host}:{self.listener.port}"

    @property
    def console_url(self) -> str:
        """The console's address, with the token that lets a browser in."""
        return f"{self.url}/?token={self.token}"

    def one_time_url(self) -> str:
        """Return an address that lets one browser of this user in, once.

        It may stand on a command line, which all users of this machine can see; the token may not.
        """
        code = secrets.token_urlsafe(24)
        self._codes[code] = time.monotonic() + _CODE_SECONDS
        return f"{self.url}/?code={code}"

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request, and lock the answer's page: it may load nothing from elsewhere and be in no frame."""
        if scope["type"] != "http":
            return

        async def send_locked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_ON_EVERY_ANSWER]}
            await send(message)

        answer = self._judge(scope) or self._sign_in(scope) or self._api
        await answer(scope, receive, send_locked)

    def _judge(self, scope: Scope) -> ASGIApp | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path: str = scope["path"]
        refused = self._guard.judge(scope["method"], path, headers, public=not _is_api(path))
        scope[BY_PROGRAM] = self._guard.has_bearer(headers)
        if refused is None:
            return None
        if refused is HTTPStatus.UNAUTHORIZED:
            sentence = (
                "the token is missing or wrong: open the address that cm-exec dev printed, or send the header "
                "Authorization: Bearer TOKEN as in the curl line that it printed"
            )
            return JsonAnswer({"error": sentence}, refused, {"WWW-Authenticate": "Bearer"})
        host = headers.get("host", "")
        sentence = f"the request comes from a foreign page or under a foreign name (Host: {host}); see --name"
        return JsonAnswer({"error": sentence}, refused)

    def _sign_in(self, scope: Scope) -> ASGIApp | None:
        """Turn the token or code of the console's address into a cookie, and the address into one without it."""
        if scope["path"] != "/" or scope["method"] not in {"GET", "HEAD"}:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1"))
        if "code" in given:
            if scope["method"] != "GET" or not self._use_code(given["code"][0], scope):
                sentence = "this address let one browser in, once; open the address that cm-exec dev printed"
                return JsonAnswer({"error": sentence}, HTTPStatus.UNAUTHORIZED)
        elif "token" not in given:
            return None
        elif not self._guard.is_token(given["token"][0]):
            return JsonAnswer({"error": "this token is not, or no longer, valid"}, HTTPStatus.UNAUTHORIZED)
        cookie = f"{self._guard.cookie_name}={self._guard.token}; Path=/; HttpOnly; SameSite=Strict"
        return JsonAnswer({}, HTTPStatus.SEE_OTHER, {"Location": "/", "Set-Cookie": cookie})

    def _use_code(self, code: str, scope: Scope) -> bool:
        """Return whether the code was valid. Another user, who may have seen it, cannot use it before its browser."""
        return _is_own(scope) and self._codes.pop(code, 0.0) > time.monotonic()


def _is_own(scope: Scope) -> bool:
    """Return whether this user or root has the other end of the connection; true where that cannot be seen."""
    ends = [scope["client"], scope["server"]]
    if not _TABLES[0].exists() or None in ends:
        return sys.platform != "linux"
    wanted = {(client, server) for client, server in zip(*map(_table_forms, ends), strict=True)}
    rows = [line.split() for table in _TABLES if table.exists() for line in table.read_text().splitlines()[1:]]
    users = {int(row[7]) for row in rows if (row[1], row[2]) in wanted and row[3] == _ESTABLISHED}
    return bool(users) and users <= {os.getuid(), 0}


def _table_forms(end: tuple[str, int]) -> tuple[str, str]:
    """Return an address and port as the kernel's tables have it: for IPv4, and for IPv6, which also has IPv4's."""
    address = ip_address(end[0])
    packed = (getattr(address, "ipv4_mapped", None) or address).packed
    mapped = packed if len(packed) == _IPV6_BYTES else bytes(10) + b"\xff\xff" + packed
    words = [
        "".join(f"{int.from_bytes(form[at : at + 4], sys.byteorder):08X}" for at in range(0, len(form), 4))
        for form in (packed, mapped)
    ]
    return f"{words[0]}:{end[1]:04X}", f"{words[1]}:{end[1]:04X}"


def _is_api(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in _API_ROOTS)
