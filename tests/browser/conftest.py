"""A browser, and the console in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.support.browser import started_browser
from tests.support.dev_program import DevProgram

Open = Callable[..., Page]

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")  # Playwright keeps an event loop in this thread, which no other test must find
def browser() -> Iterator[Browser]:
    with started_browser() as running:
        yield running


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """Open the window of the tests that need no other: a new one for each page takes twice the time of the page."""
    with browser.new_context() as context:
        yield context


@pytest.fixture
def open_console(browser: Browser, window: BrowserContext) -> Iterator[Open]:
    """Open the console of a program; with `options` in its own window.

    At the end the page must not have logged an error, and what it has stored is deleted.
    """
    complaints: list[str] = []
    pages: list[Page] = []

    def open_(program: DevProgram, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(**options) if options else window
        context.set_default_timeout(30_000)
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
        page.goto(program.console_url)
        page.get_by_role("button", name="worker ready").wait_for()
        return page

    yield open_
    for page in pages:
        if page.context is window:
            page.evaluate("localStorage.clear()")
            page.close()
            window.clear_cookies()
        else:
            page.context.close()
    assert not complaints


def _complains(message: ConsoleMessage) -> bool:
    """Return whether the message is an error, except the browser's own messages about statuses such as 400."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder with the cm.toml of the test's own program."""
    return tmp_path
