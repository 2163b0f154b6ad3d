"""Who may use the callers' port. Headers in, verdict out.

The port runs commands on the developer's machine, and any page in the developer's browser can send requests to it.
What keeps them out:

- *DNS rebinding* (a page of evil.example whose name suddenly means 127.0.0.1) is same-origin for the browser, but its
  requests carry `Host: evil.example`: only our own names are taken.
- *Cross-site requests* that need no permission (a form, an image, a script tag, fetch with `no-cors`): browsers send
  `Origin` with every POST, and `Sec-Fetch-Site` with everything; a foreign one is refused, whatever cookie comes along.
  `SameSite=Strict` is not enough, for a page on another port of localhost is the same *site*.
- *A browser that sends neither* still calls itself Mozilla, as all do: then the token is asked for. It is in the
  console's address, becomes a cookie that no script can read, and leaves the address bar at once.
- What has none of a browser's marks is a program of somebody on this machine, such as curl. It needs no token; a
  page cannot take those marks off, as `Origin`, `Sec-Fetch-*`, `Host` and `User-Agent` of a simple request are not
  a script's to remove. On a machine that others use too, `programs_need_token` shuts their programs out.

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
    """Judges requests to `port`. `token` is what the console's address carries."""

    token: str
    port: int
    programs_need_token: bool = False

    @property
    def cookie_name(self) -> str:
        """Cookies do not tell ports apart, so the name does."""
        return f"cm-exec-{self.port}"

    def judge(self, method: str, path: str, headers: Mapping[str, str], *, public: bool) -> GuardVerdict:
        """The verdict on a request; header names are in lower case. `public` files need no token."""
        if headers.get("host", "").lower() not in self._hosts:
            return GuardVerdict.FORBIDDEN
        if "origin" in headers and headers["origin"].lower() not in {f"http://{host}" for host in self._hosts}:
            return GuardVerdict.FORBIDDEN
        if not self._same_origin(method, path, headers):
            return GuardVerdict.FORBIDDEN
        if public or self._has_token(headers):
            return GuardVerdict.ALLOWED
        trusted = not (self.programs_need_token or _looks_like_a_browser(headers))
        return GuardVerdict.ALLOWED if trusted else GuardVerdict.TOKEN_NEEDED

    def is_token(self, given: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    @property
    def _hosts(self) -> frozenset[str]:
        return frozenset(f"{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]"))

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
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


def _looks_like_a_browser(headers: Mapping[str, str]) -> bool:
    if headers.keys() & {"origin", "referer"} or any(name.startswith("sec-") for name in headers):
        return True
    return headers.get("user-agent", "").startswith("Mozilla/")
