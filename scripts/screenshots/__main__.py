"""Take the pictures of the console in docs/: `python -m scripts.screenshots [FOLDER]`. It needs chromium and jq."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from scripts.screenshots.project import calls, write_project
from tests.support.browser import started_browser
from tests.support.dev_program import DevProgram, started_dev

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Take the pictures in light, dark and narrow windows."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder)
        with started_dev(folder) as program, started_browser() as browser:
            program.wait_until_ready()
            for function, query in calls():
                program.request(f"/functions/{function}", query)
            take(browser, program, target)


def take(browser: Browser, program: DevProgram, target: Path) -> None:
    """Take the pictures."""
    light = opened(browser, program, width=1360, height=820, scheme="light")
    choose(light, "forecast")
    light.get_by_role("button", name="Edit the query").click()
    light.screenshot(path=target / "console-light.png")
    dark = opened(browser, program, width=1360, height=820, scheme="dark")
    choose(dark, "thumbnail")
    dark.get_by_role("option").filter(has_text="failed").first.click()
    dark.screenshot(path=target / "console-dark.png")
    narrow = opened(browser, program, width=400, height=800, scheme="light")
    narrow.locator("#functions").get_by_role("button", name="thumbnail").click()
    narrow.get_by_role("button", name="Call Ctrl").click()
    narrow.get_by_role("img", name="Result of").wait_for()
    narrow.screenshot(path=target / "console-narrow.png")


def opened(browser: Browser, program: DevProgram, *, width: int, height: int, scheme: str) -> Page:
    """Open the console in a window of this size."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=1,
    )
    page = context.new_page()
    page.on("console", lambda message: print(message.text))
    page.on("pageerror", lambda error: print(error))  # noqa: PLW0108 - Playwright marks the function
    page.goto(program.console_url)
    page.get_by_role("button", name="worker ready").wait_for()
    return page


def choose(page: Page, function: str) -> None:
    """Choose a function and its newest job."""
    page.locator("#functions").get_by_role("button", name=function).click()
    page.get_by_role("option").filter(has_text=function).first.click()
    page.wait_for_timeout(300)  # the result is fetched


if __name__ == "__main__":
    main()
