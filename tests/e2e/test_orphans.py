"""Whatever a handler starts is ended after its job, also with an empty environment and in another session."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.processes import marked, wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

HIDDEN = "env -i setsid -f sleep 93"
"""A command that leaves its session, its parent and its environment."""


def sleepers(harness: WorkerHarness, seconds: int) -> list[int]:
    """Return the pids of `sleep SECONDS` that run in the test's folder."""
    return [p.pid for p in marked(harness.mark, harness.folder) if p.command == f"sleep {seconds}"]


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("redirect", ["", " >/dev/null 2>&1 </dev/null"], ids=["holds pipes", "holds nothing"])
def test_empty_environment(harness: WorkerHarness, mode: str, redirect: str) -> None:
    """An orphan without the environment of its job does not outlive it."""
    harness.start(function("f", f"{HIDDEN}{redirect}; echo 1", mode=mode))
    for _ in range(5):
        assert harness.runtime.call("f") == b"1\n"
        wait_until(lambda: not sleepers(harness, 93), what="the end of the orphan", seconds=12)


def test_concurrent_jobs(harness: WorkerHarness) -> None:
    """The same holds for jobs that run at the same time."""
    harness.start(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1"), "--concurrency", "4")
    jobs = [harness.runtime.submit("f") for _ in range(12)]
    assert {bytes(harness.runtime.result(job).body) for job in jobs} == {b"1\n"}
    wait_until(lambda: not sleepers(harness, 93), what="the end of all orphans", seconds=15)


def test_other_jobs_keep_their_processes(harness: WorkerHarness) -> None:
    """The end of one job does not end what another job has started in the same way."""
    going = (
        "env -i setsid -f sleep 94 >/dev/null 2>&1; touch started; while [ ! -e go ]; do sleep 0.05; done; printf done"
    )
    harness.start(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1") + function("going", going), "--concurrency", "4")
    job = harness.runtime.submit("going")
    wait_until(harness.folder.joinpath("started").exists, what="the start of the long job")
    for _ in range(8):
        assert harness.runtime.call("f") == b"1\n"
    assert len(sleepers(harness, 94)) == 1
    harness.folder.joinpath("go").touch()
    assert bytes(harness.runtime.result(job).body) == b"done"
    wait_until(lambda: not sleepers(harness, 93) + sleepers(harness, 94), what="the end of all orphans", seconds=15)


def test_persistent(harness: WorkerHarness) -> None:
    """What a persistent process has started ends with it."""
    script = "import os,sys\nfor line in sys.stdin:\n os.system(%r)\n print(os.getpid(), flush=True)\n"
    command = [sys.executable, "-S", "-E", "-c", script % f"{HIDDEN} >/dev/null 2>&1 </dev/null"]
    worker = harness.start(function("f", command, mode="persistent", max_jobs=2))
    first = json.loads(harness.runtime.call("f"))
    while json.loads(harness.runtime.call("f")) == first:
        pass
    wait_until(lambda: len(sleepers(harness, 93)) <= 1, what="the end of the first process's orphans", seconds=15)
    assert worker.stop() == 0
    wait_until(lambda: not sleepers(harness, 93), what="the end of all orphans", seconds=10)


def test_persistent_after_a_timeout(harness: WorkerHarness) -> None:
    """The same holds for a persistent process that is ended for its timeout."""
    loop = Path(__file__).parents[1] / "support" / "loop_handler.py"
    command = f"{HIDDEN} >/dev/null 2>&1 </dev/null; exec {sys.executable} -S -E {loop}"
    harness.start(function("f", command, mode="persistent", timeout=1) + function("echo", ["cat"]))
    pid = json.loads(harness.runtime.call("f", b'["pid"]'))
    before = sleepers(harness, 93)
    assert before
    assert b"timeout" in harness.runtime.call("f", b'["hang"]')
    assert json.loads(harness.runtime.call("f", b'["pid"]')) != pid
    wait_until(lambda: not set(before) & set(sleepers(harness, 93)), what="the end of its orphan", seconds=15)


def test_invoke(harness: WorkerHarness) -> None:
    """`invoke` leaves nothing behind either."""
    harness.write(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1"))
    assert harness.cm_exec("invoke", "f", "null").stdout == b"1\n"
    assert sleepers(harness, 93) == []
