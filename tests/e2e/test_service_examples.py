"""What the examples of services show: shared state, many jobs at a time, the caller's token."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.examples import environment, prepare
from tests.support.tools import needs
from tests.support.worker import Worker
from tests.support.worker_harness import WorkerHarness

PATIENCE = 90.0


def start(harness: WorkerHarness, name: str, *arguments: str) -> Worker:
    """Start a worker on the example."""
    example = prepare(name, harness.folder.parent / name)
    shutil.copytree(example.folder, harness.folder, dirs_exist_ok=True)
    config = Path(harness.folder / "cm.toml").read_text()
    return harness.start(config, *arguments, environment=environment(name, harness.environment()))


def call(harness: WorkerHarness, function: str, query: object) -> object:
    return json.loads(harness.runtime.call(function, json.dumps(query).encode(), seconds=PATIENCE))


@needs("python3")
def test_books_are_shared(harness: WorkerHarness) -> None:
    start(harness, "service-books-python")
    assert call(harness, "addBook", {"isbn": "1", "title": "Emma"}) == {"isbn": "1"}
    assert call(harness, "getBook", {"isbn": "1"}) == {"title": "Emma"}


@needs("node")
def test_many_orders_at_a_time(harness: WorkerHarness) -> None:
    worker = start(harness, "service-node", "--concurrency", "64")
    names = ["order_status", "order_total"] * 50
    jobs = [harness.runtime.submit(name, b'{"order": 7}') for name in names]
    bodies = [bytes(harness.runtime.result(job, seconds=PATIENCE).body) for job in jobs]
    assert bodies == [b'"shipped"', b"42.5"] * 50
    assert len(worker.descendants()) == 1


@needs("python3")
@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("service-batching-python", "sentiment", [{"score": 2 * n} for n in range(100)]),
        ("service-asyncio-python", "embed", [[2 * n, 2 * n, 0] for n in range(100)]),
    ],
)
def test_jobs_in_batches(harness: WorkerHarness, name: str, function: str, expected: list[object]) -> None:
    start(harness, name, "--concurrency", "16")
    jobs = [harness.runtime.submit(function, json.dumps({"text": "good " * n}).encode()) for n in range(100)]
    assert [json.loads(bytes(harness.runtime.result(job, seconds=PATIENCE).body)) for job in jobs] == expected


@needs("python3")
def test_the_chat_uses_the_token_of_its_caller(harness: WorkerHarness) -> None:
    start(harness, "http-sse-chat")
    job = harness.runtime.submit("chat", b'{"message": "hi"}', members={"authHeader": "Bearer token"})
    assert bytes(harness.runtime.result(job, seconds=PATIENCE).body) == b"Hello, You said: hi "


@needs("node", "chromium")
def test_one_browser_renders_several_pages(harness: WorkerHarness) -> None:
    worker = start(harness, "service-browser", "--concurrency", "8")
    profiles = set(re.findall(r"--user-data-dir=(\S+)", " ".join(each.command for each in worker.descendants())))
    pages = [f"<title>{n}</title><script>document.write({n} * 2)</script>" for n in range(16)]
    jobs = [harness.runtime.submit("render", json.dumps({"html": page}).encode()) for page in pages]
    bodies = [json.loads(bytes(harness.runtime.result(job, seconds=PATIENCE).body)) for job in jobs]
    assert bodies == [{"title": str(n), "text": str(2 * n)} for n in range(16)]
    assert worker.stop() == 0
    assert len(profiles) == 1
    assert not any(Path(profile).exists() for profile in profiles)
