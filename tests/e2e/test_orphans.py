"""Whatever a handler starts is ended after its job, also with an empty environment and in another session."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.processes import marked, wait_until
from tests.support.toml import function

HIDDEN = "env -i setsid -f sleep 93"
"""A command that leaves its session, its parent and its environment."""


def sleepers(bench: Bench, seconds: int) -> list[int]:
    """Return the pids of `sleep SECONDS` that run in the test's folder."""
    return [p.pid for p in marked(bench.mark, bench.folder) if p.command == f"sleep {seconds}"]


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("redirect", ["", " >/dev/null 2>&1 </dev/null"], ids=["holds pipes", "holds nothing"])
def test_empty_environment(bench: Bench, mode: str, redirect: str) -> None:
    """An orphan without the environment of its job does not outlive it."""
    bench.start(function("f", f"{HIDDEN}{redirect}; echo 1", mode=mode))
    for _ in range(5):
        assert bench.runtime.call("f") == b"1\n"
        wait_until(lambda: not sleepers(bench, 93), what="the end of the orphan", seconds=12)


def test_concurrent_jobs(bench: Bench) -> None:
    """The same holds for jobs that run at the same time."""
    bench.start(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1"), "--concurrency", "4")
    jobs = [bench.runtime.submit("f") for _ in range(12)]
    assert {bytes(bench.runtime.result(job).body) for job in jobs} == {b"1\n"}
    wait_until(lambda: not sleepers(bench, 93), what="the end of all orphans", seconds=15)


def test_other_jobs_keep_their_processes(bench: Bench) -> None:
    """The end of one job does not end what another job has started in the same way."""
    going = (
        "env -i setsid -f sleep 94 >/dev/null 2>&1; touch started; while [ ! -e go ]; do sleep 0.05; done; printf done"
    )
    bench.start(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1") + function("going", going), "--concurrency", "4")
    job = bench.runtime.submit("going")
    wait_until(bench.folder.joinpath("started").exists, what="the start of the long job")
    for _ in range(8):
        assert bench.runtime.call("f") == b"1\n"
    assert len(sleepers(bench, 94)) == 1
    bench.folder.joinpath("go").touch()
    assert bytes(bench.runtime.result(job).body) == b"done"
    wait_until(lambda: not sleepers(bench, 93) + sleepers(bench, 94), what="the end of all orphans", seconds=15)


def test_persistent(bench: Bench) -> None:
    """What a persistent process has started ends with it."""
    script = "import os,sys\nfor line in sys.stdin:\n os.system(%r)\n print(os.getpid(), flush=True)\n"
    command = [sys.executable, "-S", "-E", "-c", script % f"{HIDDEN} >/dev/null 2>&1 </dev/null"]
    worker = bench.start(function("f", command, mode="persistent", max_jobs=2))
    first = json.loads(bench.runtime.call("f"))
    while json.loads(bench.runtime.call("f")) == first:
        pass
    wait_until(lambda: len(sleepers(bench, 93)) <= 1, what="the end of the first process's orphans", seconds=15)
    assert worker.stop() == 0
    wait_until(lambda: not sleepers(bench, 93), what="the end of all orphans", seconds=10)


def test_persistent_after_a_timeout(bench: Bench) -> None:
    """The same holds for a persistent process that is ended for its timeout."""
    loop = Path(__file__).parents[1] / "support" / "loop_handler.py"
    command = f"{HIDDEN} >/dev/null 2>&1 </dev/null; exec {sys.executable} -S -E {loop}"
    bench.start(function("f", command, mode="persistent", timeout=1) + function("echo", ["cat"]))
    pid = json.loads(bench.runtime.call("f", b'["pid"]'))
    before = sleepers(bench, 93)
    assert before
    assert b"timeout" in bench.runtime.call("f", b'["hang"]')
    assert json.loads(bench.runtime.call("f", b'["pid"]')) != pid
    wait_until(lambda: not set(before) & set(sleepers(bench, 93)), what="the end of its orphan", seconds=15)


def test_invoke(bench: Bench) -> None:
    """`invoke` leaves nothing behind either."""
    bench.write(function("f", f"{HIDDEN} >/dev/null 2>&1; echo 1"))
    assert bench.cm_exec("invoke", "f", "null").stdout == b"1\n"
    assert sleepers(bench, 93) == []
