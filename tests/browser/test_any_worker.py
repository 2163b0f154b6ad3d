"""The console without a worker, with workers of any kind, and in many tabs."""

import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.dev_program import DevProgram, started_dev
from tests.support.toml import function, table
from tests.support.tools import needs
from tests.support.worker import CM_EXEC

pytestmark = needs("chromium")

Open = Callable[..., Page]


LONG_NAME = "estimate_" * 12 + "price"
TRACEBACK = '{"exception": "bad: Traceback (most recent call last):\\n  File one\\nValueError: bad"}'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProgram]:
    """Start a program whose functions the tests share; each has its own, if it needs their number of calls."""
    folder = tmp_path_factory.mktemp("any_worker")
    write(
        folder,
        function("first", ["cat"]),
        function("second", ["cat"]),
        function("counted", ["cat"]),
        function("size", "wc -c"),
        function("parts", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two", stream=True),
        function("fails", "echo the reason >&2; exit 3"),
        function("mistyped", """echo '{"a": [1]}'""", inputs={}, returns="integer"),
        function("who", 'printf "$CM_USER_ID"'),
        function("long_form", ["cat"], inputs={f"input_{number}": "string" for number in range(20)}),
        function(LONG_NAME, ["cat"]),
    )
    with started_dev(folder) as running:
        running.wait_until_ready()
        yield running


def write(folder: Path, *parts: str) -> None:
    (folder / "cm.toml").write_text("".join(parts))


def call(page: Page, name: str, query: str = "") -> None:
    page.locator("#functions").get_by_role("button", name=name).click()
    if query:
        page.get_by_label("Query, JSON").fill(query)
    page.get_by_role("button", name="Call Ctrl").click()


def test_no_worker(folder: Path, browser: Browser) -> None:
    """Without a worker, the page shows how to connect one and why an attempt failed."""
    with started_dev(folder, "--no-worker") as program:
        program.wait_for_output("docker run")
        page = browser.new_context().new_page()
        page.goto(program.console_url)
        connect = page.locator("#connect")
        expect(connect.locator("pre")).to_contain_text("export GET_JOB_URI='https://localhost:")
        expect(page.locator("#functions")).to_contain_text("None is known yet")
        expect(page.get_by_role("button", name="Call Ctrl")).to_be_hidden()
        port = int(program.state["environment"]["RUNTIME_PORT"])
        with socket.create_connection(("localhost", port)) as raw, pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")
        expect(connect).to_contain_text("the client does not trust the runtime's certificate")
        page.context.close()


def test_failed_start(folder: Path, browser: Browser) -> None:
    """The page shows a worker that does not start, with its log."""
    (folder / "app.py").write_text("import time\ntime.sleep(300)\n")
    with started_dev(folder, "--", sys.executable, "app.py") as program:
        program.wait_for_output("console")
        page = browser.new_context().new_page()
        page.goto(program.console_url)
        region = page.get_by_role("region", name="The worker runs, and has not polled yet")
        expect(region).to_contain_text("app.py")
        (folder / "app.py").write_text("raise SystemExit('no model')\n")
        region = page.get_by_role("region", name="The worker ended with exit status 1")
        expect(region.get_by_role("list", name="End of the worker")).to_contain_text("no model")
        expect(region.locator("pre")).to_be_hidden()
        page.context.close()


def test_function_without_a_schema(program: DevProgram, open_console: Open) -> None:
    """A function without a schema can be called by its name."""
    page = open_console(program)
    page.get_by_label("Another, by its name").fill("unheard_of")
    page.keyboard.press("Enter")
    page.get_by_label("Query, JSON").fill("1")
    page.get_by_role("button", name="Call Ctrl").click()
    expect(page.locator("#job-body .failure")).to_contain_text("no function 'unheard_of'")
    expect(page.locator("#functions")).not_to_contain_text("unheard_of")


def test_reload(program: DevProgram, open_console: Open) -> None:
    """A reload keeps the selected function and job."""
    page = open_console(program)
    call(page, "second", "[7]")
    expect(page.locator("#job-body .tree")).to_contain_text("7")
    number = page.locator("#job-head .faint").inner_text()
    page.reload()
    expect(page.locator("#job-head .faint")).to_have_text(number)
    expect(page.locator("#function-name")).to_have_text("second")
    expect(page.locator("#job-body .tree")).to_contain_text("7")


def test_stream(program: DevProgram, open_console: Open) -> None:
    """The page shows each part of a stream when it arrives."""
    page = open_console(program)
    call(page, "parts")
    expect(page.locator("#live-result")).to_have_text("one\n")
    expect(page.locator("#job-head .state")).to_have_text("◐ running")
    (program.folder / "go").touch()
    expect(page.locator("#job-head .state")).to_have_text("● done")
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_role("list", name="Timeline")).to_contain_text("first byte")


def test_failure(program: DevProgram, open_console: Open) -> None:
    """The page shows a failure once."""
    page = open_console(program)
    call(page, "fails")
    expect(page.locator("#job-log")).to_contain_text("the reason")
    assert page.locator("#job-body").inner_text().count("the reason") == 1
    page.get_by_text("The error result").click()
    expect(page.locator("#job-body .tree")).to_contain_text("exitCode")


@pytest.mark.parametrize("name", ["fails", "mistyped"])
def test_late_details(program: DevProgram, open_console: Open, name: str) -> None:
    """What the user has opened or closed stays so when the job's log and breaches come afterwards."""
    page = open_console(program)
    held: list[Route] = []
    page.route(re.compile(r"/jobs/[^/]+(/log)?$"), lambda route: held.append(route))  # noqa: PLW0108
    call(page, name)
    if name == "fails":
        page.get_by_text("The error result").click()
        late, text = page.locator("#job-log"), "the reason"
    else:
        late, text = page.locator("#job-breaches"), "Breach of the contract"
    top = page.locator("#job-body .tree > details")
    top.locator("summary").first.click()
    expect(top).not_to_have_attribute("open", "")
    expect(late).to_be_hidden()
    for route in held:
        route.continue_()
    page.unroute_all()
    expect(late).to_contain_text(text)
    expect(top).not_to_have_attribute("open", "")


def test_large_query(program: DevProgram, open_console: Open) -> None:
    """A large query is copied whole."""
    job = program.request("/functions/size", b'"' + b"x" * 100_000 + b'"').headers["X-Job-Id"]
    page = open_console(program, permissions=["clipboard-read", "clipboard-write"])
    page.locator(f'#history [data-id="{job}"]').click()
    page.get_by_role("tab", name="Query").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert len(page.evaluate("navigator.clipboard.readText()")) == 100_002
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.startsWith('curl'))")
    line = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(line, shell=True, capture_output=True, check=True)
    assert done.stdout.strip() == b"100002"


def test_cancelled_job(folder: Path, open_console: Open) -> None:
    """A job that occupies a slot can be cancelled and then dropped."""
    write(folder, function("hangs", "sleep 300"), table("launcher", drain_timeout=1))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "hangs")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#job-head .state")).to_have_text("✕ failed")
        page.get_by_role("button", name="Let go").click()
        expect(page.get_by_role("button", name="Let go")).to_be_hidden()
        assert program.state["queue"]["inHand"] == 0


def test_saved_test(folder: Path, open_console: Open) -> None:
    """A job can be saved as a test."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "echo", '{"a": [1]}')
        page.get_by_role("button", name="Save as test").click()
        expect(page.locator("#saved")).to_have_text("Saved in cm.toml")
        done = program.run("test")
        assert done.returncode == 0, done.stdout
        assert b"1 passed" in done.stdout


def test_traceback(folder: Path, open_console: Open) -> None:
    """The traceback that a worker with an SDK returns has line breaks."""
    write(folder, function("raises", f"printf '%s' '{TRACEBACK}'"))
    with started_dev(folder, "--", str(CM_EXEC), "run") as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "raises")
        expect(page.locator("#job-body pre.text")).to_contain_text("(most recent call last):\n  File one\nValueError")


def test_eight_tabs(folder: Path, browser: Browser) -> None:
    """Eight tabs work at once, although a browser has only six connections to a host."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        context = browser.new_context()
        pages = [context.new_page() for _ in range(8)]
        for page in pages:
            page.goto(program.console_url)
            expect(page.get_by_role("button", name="worker ready")).to_be_visible()
        call(pages[-1], "echo", "5")
        expect(pages[-1].locator("#job-body .tree")).to_have_text("5")
        for page in pages:
            expect(page.locator("#queue [data-state=done] dd")).to_have_text("1")
        context.close()


def test_number_of_calls(program: DevProgram, open_console: Open) -> None:
    """The number of calls is updated."""
    page = open_console(program)
    shown = page.locator("#functions").get_by_role("button", name="counted").locator(".calls")
    for number in range(1, 4):
        program.call("counted", b"1")
        expect(shown).to_have_text(f"{number} call{'' if number == 1 else 's'}")


def test_user(program: DevProgram, open_console: Open) -> None:
    """The user of a call reaches the handler."""
    page = open_console(program)
    page.get_by_label("user").fill("ada")
    call(page, "who")
    expect(page.locator("#job-body pre")).to_have_text("ada")


def test_long_name(program: DevProgram, open_console: Open) -> None:
    """A long name is shown whole everywhere."""
    job = program.request(f"/functions/{LONG_NAME}", b"1").headers["X-Job-Id"]
    page = open_console(program)
    page.evaluate("place => { location.hash = place; location.reload() }", f"function={LONG_NAME}&job={job}")
    page.get_by_role("button", name="worker ready").wait_for()
    for width in (1440, 1000, 400):
        page.set_viewport_size({"width": width, "height": 800})
        for part, view in (("#function-name", "call"), ("#job-head h2", "job")):
            if width == 400:
                page.locator(f"#views [data-go={view}]").click()
            heading = page.locator(part)
            expect(heading).to_contain_text("price")
            assert heading.evaluate("(h) => h.scrollWidth <= h.clientWidth")


def test_call_button(program: DevProgram, open_console: Open) -> None:
    """The call button is visible below a long form."""
    page = open_console(program, width=400, height=600)
    page.locator("#functions").get_by_role("button", name="long_form").click()
    for width in (400, 1000, 1440):
        page.set_viewport_size({"width": width, "height": 600})
        expect(page.get_by_role("button", name="Call Ctrl")).to_be_in_viewport(ratio=1)
        expect(page.get_by_label("user", exact=True)).to_be_in_viewport(ratio=1)
