"""The callers' port: its listener, its token, and the guard before every request."""

import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cm_exec.local_runtime.http.answers import JsonAnswer
from cm_exec.local_runtime.http.caller_api import CallerApi
from cm_exec.local_runtime.http.guard import Guard, GuardVerdict
from cm_exec.local_runtime.http.listener import Listener
from cm_exec.local_runtime.http.runtime_info import RuntimeInfo

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
_API: Final = ("/functions", "/jobs", "/state", "/log", "/faults", "/events")


class GuardMiddleware:
    """`application` behind `guard`."""

    def __init__(self, application: ASGIApp, guard: Guard) -> None:
        self._application = application
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return

        async def send_locked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_ON_EVERY_ANSWER]}
            await send(message)

        answer = self._judge(scope) or self._sign_in(scope) or self._application
        await answer(scope, receive, send_locked)

    def _judge(self, scope: Scope) -> ASGIApp | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path: str = scope["path"]
        verdict = self._guard.judge(scope["method"], path, headers, public=not _is_api(path))
        if verdict is GuardVerdict.FORBIDDEN:
            return JsonAnswer({"error": "the request comes from a foreign page or under a foreign name"}, 403)
        if verdict is GuardVerdict.TOKEN_NEEDED:
            return JsonAnswer({"error": "open the address with the token that cm-exec dev printed"}, 401)
        return None

    def _sign_in(self, scope: Scope) -> ASGIApp | None:
        """Turn the token of the console's address into a cookie, and the address into one without it."""
        if scope["path"] != "/" or scope["method"] not in {"GET", "HEAD"}:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if not given:
            return None
        if not self._guard.is_token(given[0]):
            return JsonAnswer({"error": "this token is not, or no longer, valid"}, 401)
        cookie = f"{self._guard.cookie_name}={self._guard.token}; Path=/; HttpOnly; SameSite=Strict"
        return JsonAnswer({}, HTTPStatus.SEE_OTHER, {"Location": "/", "Set-Cookie": cookie})


def _is_api(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in _API)


class CallerServer:
    """Serves the callers of `host` on a loopback port, from when `listener` is opened for `application`."""

    def __init__(self, host: RuntimeInfo, *, port: int, console: Path, programs_need_token: bool) -> None:
        self.token = secrets.token_urlsafe(24)
        self.listener = Listener(port=port)
        guard = Guard(token=self.token, port=self.listener.port, programs_need_token=programs_need_token)
        self.application = GuardMiddleware(CallerApi(host, console=console).application, guard)

    @property
    def url(self) -> str:
        """Where callers find the functions."""
        return f"http://127.0.0.1:{self.listener.port}"

    @property
    def console_url(self) -> str:
        """The console's address, with the token that lets a browser in."""
        return f"{self.url}/?token={self.token}"
