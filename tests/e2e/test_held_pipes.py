"""A pipe that another process still holds when the handler has exited is part of the handler's output."""

import time

import pytest

from tests.support.answers import error_of
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

TIMES = 12
"""Runs of each command. Before the fix 9 of 10 runs lost output."""

NUMBERS = "".join(f"{n}\n" for n in range(1, 20_001)).encode()

FILTERS = {
    "tee": ("exec > >(tee -a f.log); echo 42", b"42\n"),
    "grep": ("exec > >(grep -v ^DEBUG); echo DEBUG x; seq 1 20000", NUMBERS),
    "slow start": ("exec > >(exec sed s/^/x/); echo 42", b"x42\n"),
}


def bash(script: str, **options: object) -> str:
    return function("f", ["bash", "-c", script], **options)


def results(harness: WorkerHarness, name: str) -> list[bytes]:
    """Run several jobs, one after another, and return their results."""
    return [harness.runtime.call(name) for _ in range(TIMES)]


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", FILTERS)
def test_filtered_stdout(harness: WorkerHarness, name: str, stream: bool, mode: str) -> None:
    """What a process substitution writes after the shell's exit belongs to the result."""
    script, expected = FILTERS[name]
    harness.start(bash(script, mode=mode, stream=stream))
    assert results(harness, "f") == [expected] * TIMES


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("name", FILTERS)
def test_filtered_result_fd(harness: WorkerHarness, name: str, mode: str) -> None:
    """The same holds for a result on descriptor 3."""
    script, expected = FILTERS[name]
    harness.start(bash(f"exec 1>&3 3>&-; {script}", mode=mode, result_fd=3))
    assert results(harness, "f") == [expected] * TIMES


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_filtered_stderr(harness: WorkerHarness, mode: str, stream: bool) -> None:
    """The last words of a failure reach its error result and the log, although a filter passes them on."""
    worker = harness.start(bash("exec 2> >(sed s/^/E:/ >&2); echo why >&2; exit 3", mode=mode, stream=stream))
    for _ in range(TIMES):
        error = error_of(harness.runtime.result(harness.runtime.submit("f")))
        assert (error["exitCode"], error["stderr"]) == (3, "E:why\n")
    worker.stop()
    assert worker.log.count("E:why") >= TIMES


def test_filtered_stdout_in_invoke(harness: WorkerHarness) -> None:
    """`invoke` prints what the worker would post."""
    harness.write(bash(FILTERS["tee"][0]))
    assert [harness.cm_exec("invoke", "f", "null").stdout for _ in range(5)] == [b"42\n"] * 5


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("held", ["", ">/dev/null", "2>/dev/null"], ids=["both", "stderr", "stdout"])
def test_silent_holder(harness: WorkerHarness, mode: str, held: str) -> None:
    """A process that holds a pipe and writes nothing delays the result by a short grace at most, and is ended."""
    worker = harness.start(function("f", f"sleep 100 {held} & echo 42", mode=mode))
    for _ in range(3):
        since = time.monotonic()
        assert harness.runtime.call("f") == b"42\n"
        assert time.monotonic() - since < 8
    worker.terminate()
    harness.runtime.release_polls()
    assert worker.wait() == 0
    worker.wait_until_alone()


def test_writer_that_never_stops(harness: WorkerHarness) -> None:
    """A holder that writes on and on is cut at a bound; the log says so, and names the job."""
    script = "(while :; do echo more; sleep 0.05; done) & echo 42"
    worker = harness.start(function("f", script) + function("echo", ["cat"]))
    job = harness.runtime.submit("f")
    result = harness.runtime.result(job, seconds=60)
    assert bytes(result.body).startswith(b"42\n") or error_of(result)
    assert harness.runtime.call("echo", b"1") == b"1"
    worker.stop()
    lines = [line for line in worker.stdout.splitlines() if job in line and "WARN" in line]
    assert lines, "a pipe that was cut is logged"


def test_flood_after_exit(harness: WorkerHarness) -> None:
    """A holder that floods the pipe meets max_output, as the handler itself would."""
    harness.start(function("f", "yes & echo 42", max_output=1_000_000) + function("echo", ["cat"]))
    assert error_of(harness.runtime.result(harness.runtime.submit("f"), seconds=60))["reason"] == "output_limit"
    assert harness.runtime.call("echo", b"1") == b"1"


def test_failure_with_a_held_pipe(harness: WorkerHarness) -> None:
    """The exit status decides, whoever holds the pipe."""
    harness.start(bash("exec > >(tee -a f.log); echo 42; exit 3"))
    for _ in range(3):
        assert error_of(harness.runtime.result(harness.runtime.submit("f")))["exitCode"] == 3
