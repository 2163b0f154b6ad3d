"""A worker that does not run for a while, as under SIGSTOP, a container that is paused, or a machine without CPU time.

What has come in time counts, although its deadline has passed when the worker runs again.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.listener import reserved_port
from tests.support.processes import wait_until
from tests.support.toml import function, served, service, table
from tests.support.worker import Worker
from tests.support.worker_harness import WorkerHarness

TIMEOUT = 6

SPAWN = "touch spawn.started; while [ ! -e go ]; do sleep 0.05; done; echo 42; touch spawn.done"

HELD = "(touch started; while [ ! -e go ]; do echo wait; sleep 0.05; done; echo 42; touch done) &"
"""Its first process has exited, and another one holds its output."""

MESSAGES = """
import json, pathlib, sys, time

name = sys.argv[1]
for line in sys.stdin:
    message = json.loads(line)
    pathlib.Path(f"{name}.started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    print(json.dumps({"jobId": message["jobId"], "result": 42} if message != 0 else 42), flush=True)
    pathlib.Path(f"{name}.done").touch()
"""

SERVER = """
import http.server, pathlib, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        pathlib.Path("http.started").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"42")
        pathlib.Path("http.done").touch()

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@contextmanager
def suspended(worker: Worker) -> Iterator[None]:
    """Stop the worker, and let it go on at the end."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@pytest.fixture
def port() -> Iterator[int]:
    """Reserve a port for the server of a service."""
    with reserved_port() as number:
        yield number


def test_results_that_came_in_time(harness: WorkerHarness, port: int) -> None:
    """A result that its handler wrote within its timeout is the result, in each mode."""
    names = ["spawn", "step", "envelope", "http"]
    harness.folder.joinpath("messages.py").write_text(MESSAGES)
    harness.folder.joinpath("server.py").write_text(SERVER)
    config = [
        function("spawn", SPAWN, timeout=TIMEOUT),
        function("step", [sys.executable, "messages.py", "step"], mode="persistent", timeout=TIMEOUT),
        function(
            "envelope", [sys.executable, "messages.py", "envelope"], mode="persistent", envelope=True, timeout=TIMEOUT
        ),
        service("api", [sys.executable, "server.py", str(port)], protocol="http", url=f"http://127.0.0.1:{port}"),
        served("http", "api", timeout=TIMEOUT),
        table("launcher", concurrency=len(names)),
    ]
    worker = harness.start("".join(config))
    jobs = {name: harness.runtime.submit(name, b"0") for name in names}
    wait_until(lambda: all(harness.folder.joinpath(f"{name}.started").exists() for name in names), what="all jobs")
    with suspended(worker):
        harness.folder.joinpath("go").touch()
        wait_until(lambda: all(harness.folder.joinpath(f"{name}.done").exists() for name in names), what="all results")
        time.sleep(TIMEOUT + 0.5)
    results = {name: bytes(harness.runtime.result(job).body).strip() for name, job in jobs.items()}
    assert results == dict.fromkeys(names, b"42")


def test_output_of_another_process(harness: WorkerHarness) -> None:
    """What another process writes to stdout after the exit of the first one is not cut off."""
    worker = harness.start(function("held", HELD))
    job = harness.runtime.submit("held")
    wait_until(harness.folder.joinpath("started").exists, what="the job")
    with suspended(worker):
        harness.folder.joinpath("go").touch()
        wait_until(harness.folder.joinpath("done").exists, what="the result")
        time.sleep(1.5)
    assert bytes(harness.runtime.result(job).body).replace(b"wait\n", b"") == b"42\n"


def test_ready_message_that_came_in_time(harness: WorkerHarness) -> None:
    """A process that was ready within its start_timeout is not ended."""
    harness.folder.joinpath("ready.sh").write_text(
        "touch started; while [ ! -e go ]; do sleep 0.05; done; echo '{\"ready\": true}'; touch done; exec cat\n"
    )
    worker = harness.launch(
        function("echo", ["sh", "ready.sh"], mode="persistent", ready="message", start_timeout=TIMEOUT)
    )
    wait_until(harness.folder.joinpath("started").exists, what="the start")
    with suspended(worker):
        harness.folder.joinpath("go").touch()
        wait_until(harness.folder.joinpath("done").exists, what="the message")
        time.sleep(TIMEOUT + 0.5)
    worker.wait_until_ready()
    assert harness.runtime.call("echo", b"1") == b"1"
    assert "was not ready within" not in worker.log


def test_job_of_the_last_poll(harness: WorkerHarness) -> None:
    """A job that the runtime handed out during the drain is answered, however late the worker sees it."""
    harness.runtime.poll_seconds = 60.0
    worker = harness.start(function("echo", ["cat"]))
    worker.terminate()
    worker.wait_for_log("draining")
    with suspended(worker):
        job = harness.runtime.submit("echo", b"1")
        harness.runtime.wait_until_handed_out(job)
        time.sleep(6)
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"1"
