"""The console in daily use: call a function, read its result, replay a job."""

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.dev_program import DevProgram, started_dev
from tests.support.toml import function
from tests.support.tools import needs

pytestmark = needs("chromium", "jq")

Open = Callable[..., Page]

BIG = 3 * 1024 * 1024


def png(width: int, height: int) -> bytes:
    rows = b"".join(b"\0" + b"\x20\x60\xa0" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProgram]:
    folder = tmp_path_factory.mktemp("walk")
    folder.joinpath("picture.png").write_bytes(png(64, 48))
    folder.joinpath("cm.toml").write_text(
        function("double", "jq '. * 2'")
        + function("echo", ["cat"])
        + function("fails", "echo 'the reason is here' >&2; exit 7")
        + function("picture", ["cat", "picture.png"])
        + function("binary", r"printf '\000\001\376\377'")
        + function("big", f"head -c {BIG} /dev/zero")
        + function("untrue", "printf '\"text\"'", inputs={}, returns="integer")
        + function("waits", "echo started >&2; while [ ! -e go ]; do sleep 0.05; done; echo over >&2; printf ok")
        + function(
            "typed",
            ["cat"],
            description="All of it comes back",
            inputs={"n": "long", "name": "string", "tags": "list<string>", "sure": "optional<boolean>"},
        )
    )
    with started_dev(folder, "--concurrency", "2") as running:
        running.wait_until_ready()
        yield running


def choose(page: Page, name: str) -> None:
    page.locator("#functions").get_by_role("button", name=name).click()
    expect(page.locator("#function-name")).to_have_text(name)


def call(page: Page, name: str, query: str) -> None:
    choose(page, name)
    page.get_by_label("Query, JSON").fill(query)
    page.get_by_role("button", name="Call Ctrl").click()


def rows(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Jobs").get_by_role("option")


def result(page: Page) -> Locator:
    return page.locator("#job-body")


def state_of_job(page: Page) -> Locator:
    return page.locator("#job-head .state")


def test_call(program: DevProgram, open_console: Open) -> None:
    """The page shows the result of a call, and the history has the call."""
    page = open_console(program)
    call(page, "double", "21")
    expect(result(page).locator(".tree")).to_have_text("42")
    expect(state_of_job(page)).to_have_text("● done")
    expect(rows(page).first).to_contain_text("double")
    expect(rows(page).first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("status")).to_contain_text("double: done")


def test_failure(program: DevProgram, open_console: Open) -> None:
    """A failure has its reason, exit status and stderr."""
    page = open_console(program)
    call(page, "fails", "{}")
    expect(result(page).locator(".failure")).to_contain_text("failed with exit status 7")
    expect(page.locator("#job-head")).to_contain_text("exit 7")
    expect(page.get_by_role("list", name="Log of the job")).to_contain_text("the reason is here")
    expect(rows(page).first).to_contain_text("✕ failed")


def test_replay(program: DevProgram, open_console: Open) -> None:
    """A replay sends the same query again."""
    page = open_console(program)
    call(page, "echo", '{"again": 1.50}')
    expect(state_of_job(page)).to_have_text("● done")
    first = page.locator("#job-head .faint").inner_text()
    page.get_by_role("button", name="Replay").click()
    expect(page.locator("#job-head .faint")).not_to_have_text(first)
    expect(rows(page).first).to_contain_text("↻ echo")
    result(page).get_by_role("button", name="Text").click()
    expect(result(page).locator("pre")).to_have_text('{"again": 1.50}')


def test_call_with_curl(program: DevProgram, open_console: Open) -> None:
    """A job that curl started appears without a reload, and its query can be edited."""
    page = open_console(program)
    job_id = program.request("/functions/echo", b'{"from": "curl"}').headers["X-Job-Id"]
    page.locator(f'#history [data-id="{job_id}"]').click()
    expect(page.locator("#job-head")).to_contain_text("echo")
    page.get_by_role("button", name="Edit the query").click()
    expect(page.get_by_label("Query, JSON")).to_have_value('{"from": "curl"}')


def test_image(program: DevProgram, open_console: Open) -> None:
    """An image is shown as an image."""
    page = open_console(program)
    call(page, "picture", "{}")
    image = result(page).get_by_role("img", name="Result of picture")
    expect(image).to_be_visible()
    assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 64
    expect(result(page)).to_contain_text("64 × 48")  # noqa: RUF001


def test_binary_result(program: DevProgram, open_console: Open) -> None:
    """A binary result is shown as hex."""
    page = open_console(program)
    call(page, "binary", "{}")
    expect(result(page).locator("pre")).to_contain_text("00000000  00 01 fe ff")


def test_digits(program: DevProgram, open_console: Open) -> None:
    """Numbers keep their digits in the tree."""
    page = open_console(program)
    call(page, "echo", '{"2": 12345678901234567890.10, "1": [1e400, null]}')
    expect(result(page).locator(".tree")).to_contain_text("2: 12345678901234567890.101: [ 2 items ]0: 1e4001: null")


def test_large_result(program: DevProgram, open_console: Open, tmp_path: Path) -> None:
    """A result over 1 MiB is offered as a download, and not shown."""
    page = open_console(program)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    call(page, "big", "{}")
    expect(result(page)).to_contain_text("3.0 MiB")
    with page.expect_download() as download:
        result(page).get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == bytes(BIG)
    assert not [url for url in fetched if url.endswith("/result")]
    result(page).get_by_role("button", name="Look at the first").click()
    expect(result(page).locator("pre")).to_contain_text("00001ff0")


def test_stderr_of_a_running_job(program: DevProgram, open_console: Open) -> None:
    """The page shows stderr while the job runs."""
    page = open_console(program)
    program.folder.joinpath("go").unlink(missing_ok=True)
    call(page, "waits", "{}")
    log = page.get_by_role("list", name="Log of the job")
    expect(log).to_contain_text("started")
    expect(state_of_job(page)).to_have_text("◐ running")
    expect(log).not_to_contain_text("over")
    program.folder.joinpath("go").touch()
    expect(state_of_job(page)).to_have_text("● done")
    page.locator("#job-tabs").get_by_role("tab", name="Log").click()
    expect(log).to_contain_text("over")


def test_protocol_violation(program: DevProgram, open_console: Open) -> None:
    """A protocol violation is shown in red."""
    page = open_console(program)
    call(page, "untrue", "{}")
    note = result(page).locator(".breach-note")
    expect(note).to_contain_text("expected an integer of 32 bits")
    badge = page.get_by_role("button", name=re.compile("breach", re.IGNORECASE)).first
    badge.click()
    listed = page.get_by_role("tabpanel", name="Breaches").get_by_role("listitem").first
    expect(listed).to_contain_text("expected an integer of 32 bits")
    red, green, blue = (
        int(part) for part in re.findall(r"\d+", badge.evaluate("(b) => getComputedStyle(b).color"))[:3]
    )
    assert red > 2 * max(green, blue)


def test_form(program: DevProgram, open_console: Open) -> None:
    """Declared inputs have a form."""
    page = open_console(program)
    choose(page, "typed")
    expect(page.locator("#signature")).to_have_text(
        "(n: long, name: string, tags: list<string>, sure?: boolean) → string"
    )
    expect(page.locator("#description")).to_have_text("All of it comes back")
    page.get_by_label("n long").fill("9007199254740993")
    page.get_by_label("name string").fill('Zoë "Z"')
    page.locator(".list input, .list textarea").first.fill("a")
    page.get_by_role("button", name="Add").click()
    page.locator(".list textarea").nth(1).fill("b")
    page.get_by_label("sure boolean").select_option("true")
    page.get_by_role("button", name="Call Ctrl").click()
    expect(state_of_job(page)).to_have_text("● done")
    result(page).get_by_role("button", name="Text").click()
    sent = result(page).locator("pre").inner_text()
    assert '"n": 9007199254740993' in sent
    assert json.loads(sent) == {"n": 9007199254740993, "name": 'Zoë "Z"', "tags": ["a", "b"], "sure": True}


def test_invalid_value(program: DevProgram, open_console: Open) -> None:
    """An invalid value in the form is explained and not sent."""
    page = open_console(program)
    choose(page, "typed")
    before = program.state["latestJob"]
    page.get_by_label("n long").fill("much")
    page.get_by_role("button", name="Call Ctrl").click()
    expect(page.locator(".problem", has_text="a whole number expected")).to_be_visible()
    expect(page.get_by_label("n long")).to_be_focused()
    assert program.state["latestJob"] == before


def test_form_and_json(program: DevProgram, open_console: Open) -> None:
    """The form and the JSON text show the same query."""
    page = open_console(program)
    choose(page, "typed")
    page.get_by_role("radio", name="JSON").check()
    page.get_by_label("Query, JSON").fill('{"n": 5, "name": "x", "other": [1.0]}')
    page.get_by_role("radio", name="Form").check()
    expect(page.get_by_label("n long")).to_have_value("5")
    page.get_by_label("n long").fill("6")
    page.get_by_role("radio", name="JSON").check()
    text = page.get_by_label("Query, JSON").input_value()
    assert json.loads(text) == {"n": 6, "name": "x", "tags": [], "other": [1.0]}
    assert "1.0" in text


def test_invalid_json(program: DevProgram, open_console: Open) -> None:
    """A query that is not JSON is reported with the place of the mistake."""
    page = open_console(program)
    choose(page, "echo")
    page.get_by_label("Query, JSON").fill('{\n  "a": tru\n}')
    expect(page.locator("#query-problem")).to_have_text('line 2, column 8: expected a value, found "t"')


def test_stored_query(program: DevProgram, open_console: Open) -> None:
    """The query is still there after a reload."""
    page = open_console(program)
    call(page, "double", "1234")
    expect(result(page).locator(".tree")).to_have_text("2468")
    page.get_by_label("Query, JSON").fill("99")
    page.reload()
    expect(page.locator("#function-name")).to_have_text("double")
    expect(page.get_by_label("Query, JSON")).to_have_value("99")
    page.get_by_label("Recent queries").select_option(label="1234")
    expect(page.get_by_label("Query, JSON")).to_have_value("1234")


def test_chart(program: DevProgram, open_console: Open) -> None:
    """A chart shows the durations of each function."""
    page = open_console(program)
    for _ in range(3):
        program.call("echo")
    program.call("double", b"1")
    choose(page, "echo")
    chart = page.get_by_role("img", name="Durations of the last")
    expect(chart).to_be_visible()
    expect(page.locator("#chart")).to_contain_text("median")
    drawn = page.locator("#chart circle")
    calls = next(each["calls"] for each in program.state["functions"] if each["name"] == "echo")
    expect(drawn).to_have_count(calls["done"])


def test_filter(program: DevProgram, open_console: Open) -> None:
    """Jobs can be filtered."""
    page = open_console(program)
    program.call("echo")
    program.call("fails")
    page.get_by_role("radio", name="failed").check()
    expect(rows(page).filter(has_text="echo")).to_have_count(0)
    expect(rows(page).filter(has_text="fails").first).to_be_visible()
    page.get_by_role("radio", name="all").check()
    page.get_by_label("Filter jobs").fill("nothing of that name")
    expect(rows(page)).to_have_count(0)
    page.get_by_label("Filter jobs").fill("ech")
    expect(rows(page).first).to_contain_text("echo")


def test_faults(program: DevProgram, open_console: Open) -> None:
    """Faults can be switched on and off."""
    page = open_console(program)
    page.get_by_role("tab", name="Runtime").click()
    page.get_by_label("One a line").fill("poll.sometimes")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#faults-problem")).to_contain_text("'sometimes' is none of")
    page.get_by_label("One a line").fill("result.latency=0.01")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("button", name="1 fault injected")).to_be_visible()
    assert program.state["runtime"]["faults"] == ["result.latency=0.01"]
    page.get_by_role("button", name="None").click()
    expect(page.get_by_role("button", name="1 fault injected")).to_be_hidden()


def test_requests(program: DevProgram, open_console: Open) -> None:
    """The page loads nothing from another host."""
    page = open_console(program)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.reload()
    call(page, "picture", "{}")
    expect(result(page).get_by_role("img")).to_be_visible()
    assert loaded
    assert not [url for url in loaded if not url.startswith((program.url, "blob:", "data:"))]
