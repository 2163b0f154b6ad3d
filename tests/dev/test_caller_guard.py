"""The port for callers over real sockets: the console may use it, and foreign pages may not."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.views import CallerOptions
from tests.support.caller import Caller

BROWSER = {"User-Agent": "Mozilla/5.0", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def browser(serving: LocalRuntime) -> Caller:
    return Caller(serving, BROWSER, has_token=False)


def test_console_url(serving: LocalRuntime, browser: Caller) -> None:
    """The address of the console signs a browser in."""
    assert browser.get("/state").status == 401
    address = urlsplit(serving.callers.console_url)
    reply = browser.get(f"/?{address.query}")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert browser.get("/state", Cookie=cookie.partition(";")[0]).status == 200


def test_wrong_token(browser: Caller) -> None:
    """A wrong token signs nobody in."""
    reply = browser.get("/?token=guess")
    assert reply.status == 401
    assert "set-cookie" not in reply.headers


def test_one_time_code(serving: LocalRuntime, browser: Caller) -> None:
    """A code signs in one browser, once."""
    path = serving.callers.one_time_url().removeprefix(serving.callers.url)
    assert serving.callers.token not in path
    assert browser.request("HEAD", path).status == 401
    reply = browser.get(path)
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert browser.get("/state", Cookie=reply.headers["set-cookie"].partition(";")[0]).status == 200
    again = browser.get(path)
    assert (again.status, "set-cookie" in again.headers) == (401, False)
    assert "open the address that cm-exec dev printed" in again.json["error"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_code_of_another_user(serving: LocalRuntime, browser: Caller) -> None:
    """Another user of the machine cannot use the code."""
    path = serving.callers.one_time_url().removeprefix(serving.callers.url)
    get = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", serving.callers.url + path]
    assert subprocess.check_output(get, user=65534, cwd="/", env={"PATH": os.environ["PATH"]}) == b"401"
    assert browser.get(path).status == 303


def test_bearer_token(serving: LocalRuntime, browser: Caller) -> None:
    """A program may use the token."""
    assert browser.get("/state", Authorization=f"Bearer {serving.callers.token}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_foreign_page(serving: LocalRuntime, caller: Caller, headers: dict[str, str]) -> None:
    """A page from another site can run nothing."""
    sent = {name.replace("-", "_"): value for name, value in headers.items()}
    cookie = f"cm-exec-{urlsplit(serving.callers.url).port}={serving.callers.token}"
    for reply in (
        caller.post("/functions/echo", b"1", **sent),
        caller.post("/functions/echo", b"1", Cookie=cookie, **sent),
        caller.get("/events", Cookie=cookie, **sent),
    ):
        assert reply.status == 403
        assert "from a foreign page or under a foreign name" in reply.json["error"]
        assert "access-control-allow-origin" not in reply.headers
    assert serving.jobs == []


@pytest.mark.parametrize("path", ["/", "/jobs", "/nothing"])
def test_security_headers(caller: Caller, path: str) -> None:
    """Every response has the headers that restrict what a browser may do with it."""
    headers = caller.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_result_with_markup(serving: LocalRuntime) -> None:
    """A browser never shows a result as a page."""
    cookie = f"cm-exec-{urlsplit(serving.callers.url).port}={serving.callers.token}"
    browser = Caller(serving, {**BROWSER, "Cookie": cookie}, has_token=False)
    reply = browser.post("/functions/echo", b'"<script>alert(1)</script>"')
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"].startswith("attachment")


def test_name_of_a_download(serving: LocalRuntime, caller: Caller) -> None:
    """The name of a function cannot break out of the header with the name of the file."""
    job_id = serving.submit('a"\r\nX-Evil: 1;é', b"1").job_id
    headers = caller.get(f"/jobs/{job_id}/query").headers
    assert "x-evil" not in headers
    assert headers["content-disposition"] == (
        "attachment; filename*=UTF-8''a%22%0D%0AX-Evil%3A%201%3B%C3%A9-1-query.json"
    )


def test_files_of_the_console(tmp_path: Path) -> None:
    """The files of the console are served, and no others."""
    console = tmp_path / "console"
    console.mkdir()
    (console / "index.html").write_text("<!doctype html><title>console</title>")
    (console / "app.js").write_text("export {};")
    (tmp_path / "secret").write_text("secret")
    with LocalRuntime(tmp_path / "runtime", callers=CallerOptions(console=console)) as runtime:
        browser = Caller(runtime, BROWSER, has_token=False)
        assert browser.get("/").body.startswith(b"<!doctype html>")
        script = browser.get("/app.js")
        assert (script.status, script.headers["content-type"].partition(";")[0]) == (200, "text/javascript")
        assert browser.get("/../secret").status == 404
        assert browser.get("/%2e%2e/secret").status == 404
        assert browser.get("/state").status == 401


def test_missing_console(tmp_path: Path) -> None:
    """Without a console, the front page does not exist."""
    with LocalRuntime(tmp_path / "runtime", callers=CallerOptions(console=tmp_path)) as runtime:
        assert Caller(runtime).get("/").status == 404


def test_missing_token(serving: LocalRuntime) -> None:
    """A program without the token sees nothing and runs nothing."""
    stranger = Caller(serving, has_token=False)
    for reply in (stranger.post("/functions/echo", b"1"), stranger.get("/state"), stranger.get("/jobs")):
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer TOKEN" in reply.json["error"]
    assert serving.jobs == []
