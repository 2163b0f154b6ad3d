"""The requests that the port for callers accepts."""

from http import HTTPStatus

import pytest

from cm_exec.local_runtime.caller_server import Guard

GUARD = Guard(token="secret", port=8080)
HOST = {"host": "127.0.0.1:8080"}
BROWSER = {**HOST, "user-agent": "Mozilla/5.0 (X11)", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
PROGRAM = {**HOST, "authorization": "Bearer secret"}
COOKIE = {"cookie": "other=1; cm-exec-8080=secret"}
OURS = {"origin": "http://127.0.0.1:8080"}


def judge(
    headers: dict[str, str], method: str = "GET", path: str = "/jobs", *, public: bool = False
) -> HTTPStatus | None:
    return GUARD.judge(method, path, headers, public=public)


ALLOWED = {
    "curl": ({**PROGRAM, "user-agent": "curl/8"}, "POST"),
    "by the name localhost": ({**PROGRAM, "host": "LOCALHOST:8080"}, "POST"),
    "by the IPv6 address": ({**PROGRAM, "host": "[::1]:8080"}, "GET"),
    "the console reads": ({**BROWSER, **COOKIE}, "GET"),
    "the console posts": ({**BROWSER, **COOKIE, **OURS}, "POST"),
    "a browser's address line": ({**BROWSER, **COOKIE, "sec-fetch-site": "none"}, "GET"),
    "a program with the token that looks like a browser": ({**BROWSER, "authorization": "Bearer secret"}, "POST"),
}
FORBIDDEN = {
    "DNS rebinding": ({**HOST, "host": "evil.example:8080"}, "GET"),
    "DNS rebinding with a stolen cookie": ({**BROWSER, **COOKIE, "host": "evil.example:8080"}, "GET"),
    "no host": ({}, "GET"),
    "another port": ({"host": "127.0.0.1:80"}, "GET"),
    "a form of a foreign page": ({**HOST, "origin": "http://evil.example"}, "POST"),
    "a form of a foreign page with the cookie": ({**BROWSER, **COOKIE, "origin": "http://evil.example"}, "POST"),
    "a sandboxed frame": ({**BROWSER, **COOKIE, "origin": "null"}, "POST"),
    "a page on another port of localhost": ({**BROWSER, **COOKIE, "origin": "http://127.0.0.1:3000"}, "POST"),
    "an image of a page on another port": ({**BROWSER, **COOKIE, "sec-fetch-site": "same-site"}, "GET"),
    "a script tag of a foreign page": ({**BROWSER, "sec-fetch-site": "cross-site"}, "GET"),
    "a foreign fetch without cors": ({**HOST, "sec-fetch-site": "cross-site"}, "POST"),
    "a post out of nowhere": ({**BROWSER, **COOKIE, "sec-fetch-site": "none"}, "POST"),
}
TOKEN_NEEDED = {
    "a program without the token": ({**HOST, "user-agent": "curl/8"}, "POST"),
    "a browser that says nothing of where it comes from": ({**HOST, "user-agent": "Mozilla/5.0"}, "POST"),
    "our own page without the cookie": (BROWSER, "GET"),
    "a wrong cookie": ({**BROWSER, "cookie": "cm-exec-8080=guess"}, "GET"),
    "the cookie of another port": ({**BROWSER, "cookie": "cm-exec-8081=secret"}, "GET"),
    "a wrong bearer": ({**BROWSER, "authorization": "Bearer guess"}, "GET"),
    "another scheme": ({**BROWSER, "authorization": "Basic secret"}, "GET"),
    "with a referrer": ({**HOST, "referer": "http://127.0.0.1:8080/"}, "GET"),
    "a cookie that cannot be read": ({**BROWSER, "cookie": "a b=;=;[]"}, "GET"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_allowed(case: str) -> None:
    headers, method = ALLOWED[case]
    assert judge(headers, method) is None


@pytest.mark.parametrize("case", FORBIDDEN)
@pytest.mark.parametrize("public", [False, True])
def test_forbidden(case: str, public: bool) -> None:
    headers, method = FORBIDDEN[case]
    assert judge(headers, method, public=public) is HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("case", TOKEN_NEEDED)
def test_token_needed(case: str) -> None:
    headers, method = TOKEN_NEEDED[case]
    assert judge(headers, method) is HTTPStatus.UNAUTHORIZED
    assert judge(headers, "GET", "/console.js", public=True) is None


def test_link_from_another_site() -> None:
    """A link from another site may lead to the front page only."""
    link = {**BROWSER, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert judge(link, path="/", public=True) is None
    assert judge(link, path="/jobs") is HTTPStatus.FORBIDDEN
    assert judge(link, "POST", "/", public=True) is HTTPStatus.FORBIDDEN


def test_additional_names() -> None:
    """Additional names are accepted as hosts."""
    guard = Guard(token="secret", port=8080, names=("build.example",))
    headers = {"host": "build.example:8080", "authorization": "bearer secret"}
    assert guard.judge("POST", "/jobs", headers, public=False) is None
    assert guard.judge("POST", "/jobs", {**headers, "host": "127.0.0.1:8080"}, public=False) is HTTPStatus.FORBIDDEN
