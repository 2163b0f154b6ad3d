"""Decide who may use the callers' port: headers in, verdict out.

The port runs commands on the developer's machine. Any page in the developer's browser can send requests to it, and so
can every account of the machine. What keeps them out:

- *The token*: every request for functions and jobs carries it, from programs as `Authorization: Bearer`, from the
  console as a cookie that no script can read. The console's address has the token, and loses it at once.
- *DNS rebinding* (a page of evil.example whose name suddenly means 127.0.0.1) is same-origin for the browser, but its
  requests carry `Host: evil.example`: only our own names are taken.
- *Cross-site requests* that need no permission (a form, an image, a script tag, fetch with `no-cors`): browsers send
  `Origin` with every POST, and `Sec-Fetch-Site` with everything; a foreign one is refused, whatever cookie comes along.
  `SameSite=Strict` is not enough, for a page on another port of localhost is the same *site*.

Answers are never readable for other origins: no CORS header is sent, and `Cross-Origin-Resource-Policy` forbids
embedding.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http.cookies import CookieError, SimpleCookie


class GuardVerdict(Enum):
    """What becomes of a request."""

    ALLOWED = auto()
    FORBIDDEN = auto()
    """It comes from a foreign page, or under a foreign name."""
    TOKEN_NEEDED = auto()


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

    def judge(self, method: str, path: str, headers: Mapping[str, str], *, public: bool) -> GuardVerdict:
        """Return the verdict on a request; header names are in lower case. `public` files need no token."""
        hosts = {f"{name}:{self.port}" for name in self.names}
        if headers.get("host", "").lower() not in hosts:
            return GuardVerdict.FORBIDDEN
        if "origin" in headers and headers["origin"].lower() not in {f"http://{host}" for host in hosts}:
            return GuardVerdict.FORBIDDEN
        if not self._same_origin(method, path, headers):
            return GuardVerdict.FORBIDDEN
        if public or self.has_bearer(headers) or self._has_cookie(headers):
            return GuardVerdict.ALLOWED
        return GuardVerdict.TOKEN_NEEDED

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
