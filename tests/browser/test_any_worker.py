"""The console with workers of any kind: none yet, without schemas, that stream, that fail; and in many tabs."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.dev_program import started_dev
from tests.support.toml import function
from tests.support.tools import needs

pytestmark = needs("chromium")

Open = Callable[..., Page]


def write(folder: Path, *parts: str) -> None:
    (folder / "cm.toml").write_text("".join(parts))


def call(page: Page, name: str, query: str = "") -> None:
    page.locator("#functions").get_by_role("button", name=name).click()
    if query:
        page.get_by_label("Query, JSON").fill(query)
    page.get_by_role("button", name="Call Ctrl").click()


def test_without_a_worker_it_shows_how_to_connect_one_and_why_one_failed(folder: Path, browser: Browser) -> None:
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


def test_a_worker_that_does_not_come_up_is_shown_with_its_log(folder: Path, browser: Browser) -> None:
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


def test_a_function_without_a_schema_is_called_by_its_name(folder: Path, open_console: Open) -> None:
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        page.get_by_label("Another, by its name").fill("unheard_of")
        page.keyboard.press("Enter")
        page.get_by_label("Query, JSON").fill("1")
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#job-body .failure")).to_contain_text("no function 'unheard_of'")
        expect(page.locator("#functions")).not_to_contain_text("unheard_of")


def test_a_reload_keeps_the_function_and_the_job(folder: Path, open_console: Open) -> None:
    write(folder, function("first", ["cat"]), function("second", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "second", "[7]")
        expect(page.locator("#job-head .faint")).to_have_text("#1")
        page.reload()
        expect(page.locator("#job-head .faint")).to_have_text("#1")
        expect(page.locator("#function-name")).to_have_text("second")
        expect(page.locator("#job-body .tree")).to_contain_text("7")


def test_a_stream_is_shown_as_it_comes(folder: Path, open_console: Open) -> None:
    write(folder, function("count", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two", stream=True))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "count")
        expect(page.locator("#live-result")).to_have_text("one\n")
        expect(page.locator("#job-head .state")).to_have_text("◐ running")
        (folder / "go").touch()
        expect(page.locator("#job-head .state")).to_have_text("● done")
        page.get_by_role("tab", name="Details").click()
        expect(page.get_by_role("list", name="Timeline")).to_contain_text("first byte")


def test_a_failure_is_shown_once(folder: Path, open_console: Open) -> None:
    write(folder, function("fails", "echo the reason >&2; exit 3"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "fails")
        expect(page.locator("#job-log")).to_contain_text("the reason")
        assert page.locator("#job-body").inner_text().count("the reason") == 1
        page.get_by_text("The error result").click()
        expect(page.locator("#job-body .tree")).to_contain_text("exitCode")


def test_a_large_query_is_copied_whole(folder: Path, open_console: Open) -> None:
    write(folder, function("size", "wc -c"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        program.request("/functions/size", b'"' + b"x" * 100_000 + b'"')
        page = open_console(program, permissions=["clipboard-read", "clipboard-write"])
        page.get_by_role("listbox", name="Jobs").get_by_role("option").first.click()
        page.get_by_role("tab", name="Query").click()
        page.get_by_role("button", name="Copy", exact=True).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert len(page.evaluate("navigator.clipboard.readText()")) == 100_002
        page.get_by_role("button", name="Copy as curl").click()
        page.wait_for_function("navigator.clipboard.readText().then((text) => text.startsWith('curl'))")
        line = page.evaluate("navigator.clipboard.readText()")
        done = subprocess.run(line, shell=True, capture_output=True, check=True)
        assert done.stdout.strip() == b"100002"


def test_a_job_that_holds_a_slot_is_cancelled_and_let_go(folder: Path, open_console: Open) -> None:
    write(folder, function("hangs", "sleep 300"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "hangs")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#job-head .state")).to_have_text("✕ failed")
        page.get_by_role("button", name="Let go").click()
        expect(page.get_by_role("button", name="Let go")).to_be_hidden()
        assert program.state["queue"]["inHand"] == 0


def test_a_job_is_saved_as_a_test(folder: Path, open_console: Open) -> None:
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


def test_a_traceback_of_an_sdk_has_lines(folder: Path, open_console: Open) -> None:
    body = '{"exception": "bad: Traceback (most recent call last):\\n  File one\\nValueError: bad"}'
    write(folder, function("raises", f"printf '%s' '{body}'"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        call(page, "raises")
        expect(page.locator("#job-body pre.text")).to_contain_text("(most recent call last):\n  File one\nValueError")


def test_eight_tabs_all_work(folder: Path, browser: Browser) -> None:
    """A browser has six connections to a host: a stream of events for each tab would take them all."""
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


def test_the_count_of_calls_goes_on(folder: Path, open_console: Open) -> None:
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        for number in range(1, 4):
            program.call("echo", b"1")
            expected = f"{number} call{'' if number == 1 else 's'}"
            expect(page.locator("#functions .calls")).to_have_text(expected)


def test_the_user_of_a_call_reaches_the_handler(folder: Path, open_console: Open) -> None:
    write(folder, function("who", 'printf "$CM_USER_ID"'))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        page.get_by_label("user").fill("ada")
        call(page, "who")
        expect(page.locator("#job-body pre")).to_have_text("ada")


@pytest.mark.parametrize("width", [400, 1000, 1440])
def test_a_long_name_is_cut_nowhere(folder: Path, open_console: Open, width: int) -> None:
    name = "estimate_" * 12 + "price"
    write(folder, function(name, ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        job = program.request(f"/functions/{name}", b"1").headers["X-Job-Id"]
        page = open_console(program, width=width)
        for part, view in (("#function-name", "call"), ("#job-head h2", "job")):
            page.evaluate("place => { location.hash = place; location.reload() }", f"function={name}&job={job}")
            page.get_by_role("button", name="worker ready").wait_for()
            if width == 400:
                page.locator(f"#views [data-go={view}]").click()
            heading = page.locator(part)
            expect(heading).to_contain_text("price")
            assert heading.evaluate("(h) => h.scrollWidth <= h.clientWidth")


@pytest.mark.parametrize("width", [400, 1000, 1440])
def test_the_call_button_is_in_sight_below_a_long_form(folder: Path, open_console: Open, width: int) -> None:
    inputs = {f"input_{number}": "string" for number in range(20)}
    write(folder, function("long", ["cat"], inputs=inputs))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program, width=width, height=600)
        button = page.get_by_role("button", name="Call Ctrl")
        expect(button).to_be_in_viewport(ratio=1)
        expect(page.get_by_label("user", exact=True)).to_be_in_viewport(ratio=1)
