"""The console with a keyboard only, on a narrow screen, with a dark theme, and with a screen reader."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.dev_program import DevProgram, started_dev
from tests.support.toml import function
from tests.support.tools import needs

pytestmark = needs("chromium", "jq")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProgram]:
    folder = tmp_path_factory.mktemp("people")
    folder.joinpath("cm.toml").write_text(
        function("double", "jq '. * 2'")
        + function("fails", "echo why >&2; exit 1")
        + function("with_a_rather_long_name_for_a_function", ["cat"], inputs={"n": "integer"}, returns="string")
    )
    with started_dev(folder) as running:
        running.wait_until_ready()
        yield running


def test_keyboard(program: DevProgram, open_console: Open) -> None:
    """Everything can be done with the keyboard."""
    page = open_console(program)
    page.keyboard.press("f")
    page.keyboard.press("Home")
    while page.locator(":focus").inner_text().split("\n")[0] != "double":
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("4")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-body .tree")).to_have_text("8")
    page.keyboard.press("Escape")
    first = page.locator("#job-head .faint").inner_text()
    page.keyboard.press("r")
    expect(page.locator("#job-head .faint")).not_to_have_text(first)
    page.keyboard.press("j")
    expect(page.locator("#job-head .faint")).to_have_text(first)
    page.keyboard.press("3")
    expect(page.get_by_role("tab", name="Query")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#job-body .tree")).to_have_text("4")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter jobs")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_focus(program: DevProgram, open_console: Open) -> None:
    """The focus is always visible."""
    page = open_console(program)
    unseen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
                const element = document.activeElement;
                const marked = (e) => e && getComputedStyle(e).outlineStyle !== "none";
                const seen = element === document.body || marked(element) || marked(element.parentElement);
                return seen ? "" : element.outerHTML;
            }"""
        )
        if found:
            unseen.append(found)
    assert not unseen


def test_single_key_shortcuts(program: DevProgram, open_console: Open) -> None:
    """Single-key shortcuts can be switched off."""
    page = open_console(program)
    page.keyboard.press("?")
    page.get_by_label("single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter jobs")).not_to_be_focused()


@pytest.mark.parametrize("width", [400, 320])
def test_narrow_screen(program: DevProgram, open_console: Open, width: int) -> None:
    """A narrow screen shows one view at a time, and the whole of it."""
    page = open_console(program, width=width, height=800, has_touch=True)
    views = page.get_by_role("navigation", name="Views")
    page.locator("#functions").get_by_role("button", name="double").tap()
    page.get_by_label("Query, JSON").fill("6")
    page.get_by_role("button", name="Call Ctrl").tap()
    expect(page.locator("#job-body .tree")).to_have_text("12")
    for name in ("Call", "Job", "Jobs", "Runtime"):
        views.get_by_role("button", name=name, exact=True).tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    views.get_by_role("button", name="Jobs", exact=True).tap()
    page.locator("#history [role=option]").filter(has_text="double").first.tap()
    expect(page.locator("#job-head")).to_contain_text("double")


CONTRASTS = """() => {
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = numbers(getComputedStyle(e).backgroundColor);
            if (colour[3] === undefined || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest(":disabled, svg")) continue;
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) poor.push(`${contrast.toFixed(2)} ${element.outerHTML.slice(0, 90)}`);
    }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(program: DevProgram, open_console: Open, scheme: str) -> None:
    """Every text has enough contrast."""
    page = open_console(program, color_scheme=scheme)
    program.call("double", b"[1]")
    program.call("fails")
    page.locator("#history [role=option]").filter(has_text="fails").first.click()
    expect(page.locator("#job-body .failure")).to_be_visible()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
    assert dark == (scheme == "dark")
    assert page.evaluate(CONTRASTS) == []
    page.get_by_role("tab", name="Runtime").click()
    assert page.evaluate(CONTRASTS) == []


def test_theme(program: DevProgram, open_console: Open) -> None:
    """The theme can be chosen, and the choice is stored."""
    page = open_console(program, color_scheme="light")
    page.get_by_role("button", name="Theme: Auto").click()
    page.get_by_role("button", name="Theme: Light").click()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(18, 18, 18)"
    page.reload()
    assert page.evaluate(ground) == "rgb(18, 18, 18)"


CONTROLS = "button, input, select, textarea, a[href], [role=listbox], [role=tablist], svg[role=img], img"
UNNAMED = """(controls) => {
    const labelled = (e) => e.labels && [...e.labels].some((label) => label.textContent.trim());
    const named = (e) => e.getAttribute("aria-label") || e.getAttribute("alt") || e.textContent.trim() || labelled(e);
    const seen = [...document.querySelectorAll(controls)].filter((e) => e.checkVisibility());
    return seen.filter((e) => !named(e)).map((e) => e.outerHTML);
}"""


def test_names_of_controls(program: DevProgram, open_console: Open) -> None:
    """Every control has a name."""
    page = open_console(program)
    program.call("double", b"1")
    page.locator("#history [role=option]").first.click()
    for tab in ("Jobs", "Breaches", "Worker", "Runtime"):
        page.locator("#lower-tabs").get_by_role("tab", name=tab).click()
        assert page.evaluate(UNNAMED, CONTROLS) == [], tab
    page.locator("#functions").get_by_role("button", name="with_a_rather_long").click()
    assert page.evaluate(UNNAMED, CONTROLS) == []
