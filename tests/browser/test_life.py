"""The console during changes: of cm.toml, of many jobs, and when the worker or the runtime ends."""

import http.client
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.dev_program import DevProgram, started_dev
from tests.support.processes import wait_until
from tests.support.toml import function, served, service
from tests.support.tools import needs

pytestmark = needs("chromium")

Open = Callable[..., Page]


def write(folder: Path, text: str) -> None:
    draft = folder / ".cm.toml.draft"
    draft.write_text(text)
    draft.replace(folder / "cm.toml")


def test_invalid_cm_toml(folder: Path, open_console: Open) -> None:
    """The page shows the mistake in cm.toml until it is corrected."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        write(folder, function("echo", ["cat"], timeot=3))
        notice = page.get_by_role("alert")
        expect(notice).to_contain_text("functions.echo.timeot: unknown key; did you mean timeout?")
        assert program.call("echo", b"1") == b"1"
        write(folder, function("echo", ["cat"]) + function("fresh", "printf new"))
        expect(notice).to_be_empty()
        page.locator("#functions").get_by_role("button", name="fresh").click()
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#job-body pre")).to_have_text("new")


def call_often(program: DevProgram, name: str, times: int) -> None:
    """Queue a call the given number of times, over one connection."""
    connection = http.client.HTTPConnection(program.url.removeprefix("http://"))
    for _ in range(times):
        headers = {"Authorization": f"Bearer {program.token}"}
        connection.request("POST", f"/functions/{name}?wait=false", b"1", headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 202
    connection.close()


@pytest.mark.timeout(400)
def test_many_jobs(folder: Path, open_console: Open) -> None:
    """A thousand jobs and ten thousand queued ones make few elements."""
    echo = function("echo", ["sed", "-u", "p;d"], mode="persistent")
    write(folder, echo + function("waits", "while [ ! -e go ]; do sleep 0.1; done"))
    with started_dev(folder, "--concurrency", "2", "--call-timeout", "0") as program:
        program.wait_until_ready()
        page = open_console(program)
        call_often(program, "echo", 999)
        page.locator("#functions").get_by_role("button", name="echo").click()
        page.get_by_label("Query, JSON").fill("7")
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#queue [data-state=done] dd")).to_have_text("1,000", timeout=100_000)
        listed = page.get_by_role("listbox", name="Jobs").get_by_role("option")
        expect(listed.first).to_have_attribute("aria-setsize", "1000")
        assert listed.count() < 60
        page.get_by_role("listbox", name="Jobs").press("End")
        expect(listed.last).to_contain_text("● done")
        expect(page.locator("#job-head .faint")).to_have_text("#1")
        call_often(program, "waits", 10_000)
        expect(page.locator("#queued-row")).to_have_text("9,998 more jobs are queued")
        assert listed.count() < 60
        page.locator("#queued-row").click()
        expect(listed.first).to_contain_text("○ queued")
        assert listed.count() < 60
        page.get_by_role("radio", name="running").check()
        expect(listed).to_have_count(2)
        folder.joinpath("go").touch()


def test_killed_worker(folder: Path, open_console: Open) -> None:
    """The page reports a worker that dies, and its job is lost."""
    write(folder, function("waits", "sleep 300"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#job-head .state")).to_have_text("◐ running")
        os.kill(program.state["worker"]["process"]["pid"], signal.SIGKILL)
        expect(page.locator("#job-head .state")).to_have_text("⊘ lost")
        expect(page.locator("#job-body")).to_contain_text("SIGKILL")
        expect(page.get_by_role("button", name="worker ready")).to_be_visible()


def test_job_that_is_not_known_for_a_moment(folder: Path, open_console: Open) -> None:
    """The page shows a job again that was missing in a list."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#job-body .tree")).to_have_text("{ }")
        page.evaluate(
            """async () => {
                const { state, putJobs } = await import("/js/store.js");
                const job = state.jobs.get(state.chosenJob);
                state.jobs.delete(job.id);
                putJobs([]);
                window.bringBack = () => putJobs([job]);
            }"""
        )
        expect(page.locator("#job-head")).to_have_text("No job chosen")
        page.evaluate("bringBack()")
        expect(page.locator("#job-head .state")).to_have_text("● done")


def test_services(folder: Path, open_console: Open) -> None:
    """The page shows each service with its state."""
    write(folder, service("broken", "exit 3") + served("f", by="broken") + served("g", by="broken"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        page.get_by_role("tab", name="Runtime").click()
        services = page.get_by_role("region", name="Services")
        expect(services.get_by_role("listitem")).to_contain_text(
            "failed · lines · 0 processes · 0 jobs in hand · since"
        )
        expect(services).to_contain_text("exit status 3")
        write(folder, function("echo", ["cat"]))
        expect(services).to_be_hidden()


def test_restart(folder: Path, browser: Browser) -> None:
    """An open tab connects again after a restart."""
    write(folder, function("echo", ["cat"]))
    context = browser.new_context()
    page = context.new_page()
    with started_dev(folder) as program:
        program.wait_until_ready()
        port = program.url.rpartition(":")[2]
        page.goto(program.console_url)
        page.get_by_role("button", name="Call Ctrl").click()
        expect(page.locator("#job-body .tree")).to_have_text("{ }")
    expect(page.get_by_role("alert")).to_contain_text("does not answer", timeout=30_000)
    expect(page.get_by_role("button", name="runtime is gone")).to_be_visible()
    expect(page.get_by_role("button", name="worker ready")).to_have_count(0)
    with started_dev(folder, port=int(port)) as program:
        program.wait_until_ready()
        expect(page.get_by_role("alert")).to_be_empty(timeout=30_000)
        expect(page.get_by_role("button", name="worker ready")).to_be_visible()
    context.close()


def test_missing_token(folder: Path, browser: Browser) -> None:
    """Without the token, the page shows nothing."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        context = browser.new_context()
        page = context.new_page()
        page.goto(program.url)
        expect(page.get_by_role("alert")).to_contain_text("open the address that cm-exec dev printed")
        expect(page.locator("#functions")).not_to_contain_text("echo")
        context.close()


def test_address_bar(folder: Path, open_console: Open) -> None:
    """The token does not stay in the address bar."""
    write(folder, function("echo", ["cat"]))
    with started_dev(folder) as program:
        program.wait_until_ready()
        page = open_console(program)
        assert page.url == f"{program.url}/"
        wait_until(lambda: "token" not in page.evaluate("document.cookie"), what="no cookie for scripts")
