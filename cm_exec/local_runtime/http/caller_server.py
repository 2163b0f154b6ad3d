"""The callers' port: its listener, its token, its addresses."""

import secrets
from pathlib import Path

from cm_exec.local_runtime.http.caller_api import CallerApi
from cm_exec.local_runtime.http.guard import Guard
from cm_exec.local_runtime.http.guard_middleware import GuardMiddleware
from cm_exec.local_runtime.http.listener import Listener
from cm_exec.local_runtime.http.runtime_info import RuntimeInfo


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
