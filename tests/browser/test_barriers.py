"""axe-core finds no barrier in the console, in any of its states and sizes."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.dev_program import DevProgram, started_dev
from tests.support.toml import function
from tests.support.tools import needs

AXE = importlib.util.find_spec("axe_playwright_python")
pytestmark = [
    needs("chromium"),
    pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed: run scripts/create-venv again"),
]

Open = Callable[..., Page]

WIDTHS = [1440, 1000, 400]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProgram]:
    folder = tmp_path_factory.mktemp("barriers")
    (folder / "cm.toml").write_text(
        function("echo", ["cat"], inputs={"n": "integer", "when": "optional<timestamp>"}, returns="unknown")
        + function("fails", "echo why >&2; exit 1")
    )
    with started_dev(folder) as running:
        running.wait_until_ready()
        running.request("/functions/echo", b'{"n": 1}')
        running.request("/functions/fails", b"{}")
        yield running


def add_axe(page: Page) -> None:
    """Define `axe` in the page by evaluation, since the page forbids foreign scripts."""
    assert AXE is not None
    assert AXE.origin is not None
    page.evaluate(Path(AXE.origin).with_name("axe.min.js").read_text())


def barriers(page: Page) -> list[dict[str, Any]]:
    """Return the violations that axe-core finds in the light and in the dark scheme."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
        assert dark == (scheme == "dark")
        found += page.evaluate("axe.run({ resultTypes: ['violations'] }).then((results) => results.violations)")
    return [
        {"id": each["id"], "help": each["help"], "nodes": [node["html"][:200] for node in each["nodes"]]}
        for each in found
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_with_a_worker(program: DevProgram, open_console: Open, width: int) -> None:
    page = open_console(program, width=width, height=900)
    add_axe(page)
    assert barriers(page) == []
    narrow = width < 720
    for name in ("fails", "echo"):
        if narrow:
            page.get_by_role("navigation", name="Views").get_by_role("button", name="Jobs", exact=True).click()
        page.get_by_role("listbox", name="Jobs").get_by_role("option").filter(has_text=name).first.click()
        for tab in ("Result", "Log", "Query", "Details"):
            page.locator("#job-tabs").get_by_role("tab", name=tab).click()
            assert barriers(page) == [], (name, tab)
    if narrow:
        page.get_by_role("navigation", name="Views").get_by_role("button", name="Runtime").click()
    else:
        page.get_by_role("tab", name="Runtime and faults").click()
    assert barriers(page) == []


def test_no_worker(tmp_path: Path, browser: Browser) -> None:
    with started_dev(tmp_path, "--no-worker") as program:
        program.wait_for_output("docker run")
        page = browser.new_page()
        page.goto(program.console_url)
        expect(page.locator("#connect pre")).to_be_visible()
        assert barriers_of_widths(page) == {}
        page.close()


def test_failed_worker(tmp_path: Path, browser: Browser) -> None:
    with started_dev(tmp_path, "--", "sh", "-c", "echo no model; exit 3") as program:
        program.wait_for_output("starts again in 2 s")
        page = browser.new_page()
        page.goto(program.console_url)
        expect(page.get_by_role("list", name="End of the worker")).to_contain_text("no model")
        assert barriers_of_widths(page) == {}
        page.close()


def barriers_of_widths(page: Page) -> dict[int, list[dict[str, Any]]]:
    """Return the violations for each width of the window that has one."""
    add_axe(page)
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[width] = barriers(page)
    return {width: violations for width, violations in found.items() if violations}
