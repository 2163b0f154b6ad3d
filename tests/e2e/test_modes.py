"""The modes prespawn and persistent, and result_fd, through the installed cm-exec and a real runtime."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import error_of
from tests.support.processes import has_ended, wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]


def loop(*arguments: str, **options: object) -> str:
    return function("f", [*LOOP, *arguments], **{"mode": "persistent", **options})


def ask(harness: WorkerHarness, *query: object) -> Any:
    return json.loads(harness.runtime.call("f", json.dumps(query).encode()))


def error(harness: WorkerHarness, *query: object) -> dict[str, Any]:
    return error_of(harness.runtime.result(harness.runtime.submit("f", json.dumps(query).encode())), function="f")


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
def test_start_before_the_first_job(harness: WorkerHarness, mode: str) -> None:
    """Processes start before there is a job."""
    note = harness.folder / "note"
    note.touch()
    harness.start(loop("note", str(note), mode=mode), "--concurrency", "2")
    wait_until(lambda: len(note.read_text().split()) == 2, what="two starts")
    assert str(ask(harness, "pid")) in note.read_text().split()


def test_a_persistent_process_serves_many_jobs(harness: WorkerHarness) -> None:
    harness.start(loop())
    assert len({ask(harness, "pid") for _ in range(10)}) == 1


def test_a_prespawned_process_serves_one(harness: WorkerHarness) -> None:
    harness.start(loop(mode="prespawn"))
    assert len({ask(harness, "pid") for _ in range(5)}) == 5


def test_concurrent_jobs(harness: WorkerHarness) -> None:
    """Each of many concurrent jobs gets its own result."""
    harness.start(loop(), "--concurrency", "4")
    jobs = {harness.runtime.submit("f", json.dumps(["echo", n]).encode()): n for n in range(200)}
    assert {job: int(harness.runtime.result(job).body) for job in jobs} == jobs
    assert all(len(harness.runtime.posts(job)) == 1 for job in jobs)


def test_failures(harness: WorkerHarness) -> None:
    """Each kind of failure is answered, and the next job is served."""
    harness.start(loop(timeout=2, max_output=100_000))
    for query, reason in (
        (["exit", 3], "exit"),
        (["kill"], "signal"),
        (["twice"], "out_of_step"),
        (["raw_and_out", "1", 0], "out_of_step"),
        (["ones", 100_001], "output_limit"),
        (["hang"], "timeout"),
    ):
        assert error(harness, *query)["reason"] == reason
        assert ask(harness, "echo", reason) == reason


def test_a_stray_line_reaches_no_other_job(harness: WorkerHarness) -> None:
    harness.start(loop())
    for number in range(20):
        stray = harness.runtime.submit("f", b'["after", 0.001]')
        job = harness.runtime.submit("f", json.dumps(["slow", 0.002, number]).encode())
        assert bytes(harness.runtime.result(job).body) == b"%d" % number
        assert b"first" in harness.runtime.result(stray).body or error_of(harness.runtime.result(stray))


def test_exit_of_an_idle_process(harness: WorkerHarness) -> None:
    """A process that is killed while idle is replaced and logged."""
    worker = harness.start(loop())
    pid = ask(harness, "pid")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid), what="its end")
    assert ask(harness, "pid") != pid
    wait_until(lambda: "the process of 'f' ended between jobs, by SIGKILL" in worker.log, what="the line in the log")


def test_credentials(harness: WorkerHarness) -> None:
    """Credentials are in the envelope and not in the log."""
    worker = harness.start(loop(envelope=True, credentials=True))
    job = harness.runtime.submit("f", b'["whole"]', members={"authHeader": "Bearer s3cret", "userId": "u"})
    members = json.loads(bytes(harness.runtime.result(job).body))
    assert members["authHeader"] == "Bearer s3cret"
    assert (members["jobId"], members["queryType"], members["userId"]) == (job, "f", "u")
    noisy = harness.runtime.submit(
        "f", b'["noisy", "I know Bearer s3cret\\n"]', members={"authHeader": "Bearer s3cret"}
    )
    harness.runtime.result(noisy)
    wait_until(lambda: "I know" in worker.log, what="the line in the log")
    assert "s3cret" not in worker.log


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_result_fd(harness: WorkerHarness, mode: str) -> None:
    """With result_fd = 3 stdout goes to the log."""
    command = "echo printed; cat >&3; echo more"
    worker = harness.start(function("f", command, mode=mode, result_fd=3))
    assert harness.runtime.call("f", b'"x"') == b'"x"'
    wait_until(lambda: "printed" in worker.log and "more" in worker.log, what="the lines in the log")


def test_result_fd_of_a_persistent_process(harness: WorkerHarness) -> None:
    """A persistent process with result_fd = 3 may print."""
    worker = harness.start(loop("fd3", result_fd=3), "--concurrency", "2")
    for number in range(5):
        assert ask(harness, "printing", f"noise {number}\n") == "printed"
    wait_until(lambda: all(f"noise {n}" in worker.log for n in range(5)), what="the lines in the log")


def test_frames_carry_a_large_query_and_result(harness: WorkerHarness) -> None:
    harness.start(loop("frames", protocol="content-length"))
    large = "0123456789abcdef" * 500_000
    assert ask(harness, "echo", large) == large


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
def test_drain(harness: WorkerHarness, mode: str) -> None:
    """A drain ends idle processes, even those that ignore SIGTERM."""
    worker = harness.start(
        function("f", "trap '' TERM; while read -r x; do echo 1; done; sleep 300", mode=mode, timeout=3)
    )
    assert worker.stop() == 0
    worker.wait_until_alone()


def test_killed_worker(harness: WorkerHarness) -> None:
    """A killed worker leaves no idle process, since its death closes their stdin."""
    worker = harness.start(loop() + function("g", "cat", mode="prespawn"), "--concurrency", "2")
    wait_until(lambda: len(worker.descendants()) >= 4, what="all that wait")
    worker.end()
    worker.wait_until_alone()


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
def test_failing_command(harness: WorkerHarness, mode: str) -> None:
    """A command that always dies does not stop the worker."""
    harness.start(loop("die", "5", mode=mode) + function("good", "cat"), "--concurrency", "2")
    assert error(harness, "pid")["exitCode"] == 5
    assert harness.runtime.call("good", b"1") == b"1"
