"""Descriptors, threads, processes, memory and disk may run out: each fails only what it must, and recovers."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support import responses
from tests.support.answers import error_of
from tests.support.limits import address_space, descriptors_left, limited
from tests.support.processes import peak_memory
from tests.support.replica import unmeasured
from tests.support.request_log import Endpoint
from tests.support.toml import function, table
from tests.support.worker import Worker
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]

RESULT = bytes(20_000) + b"the end"
WRITE = "head -c 20000 /dev/zero; printf 'the end'"

ALL_MODES = (
    function("spawn", WRITE, timeout=60)
    + function("ahead", f"cat >/dev/null; {WRITE}", mode="prespawn", timeout=60)
    + function("stream", WRITE, stream=True, timeout=60)
    + function("fd3", f"({WRITE}) >&3", result_fd=3, timeout=60)
    + function("loop", LOOP, mode="persistent", timeout=60)
)
QUERIES = {"spawn": b"1", "ahead": b"1", "stream": b"1", "fd3": b"1", "loop": b'["echo", "%s"]' % (b"0" * 20_000)}
EXPECTED = {**dict.fromkeys(QUERIES, RESULT), "loop": b'"%s"' % (b"0" * 20_000)}


def one_of_each(harness: WorkerHarness) -> dict[str, str]:
    return {name: harness.runtime.submit(name, query) for name, query in QUERIES.items()}


def check_right_or_not_started(harness: WorkerHarness, jobs: dict[str, str]) -> list[str]:
    """Every job has its own result or did not start; return the errors' sentences."""
    sentences = []
    for name, job in jobs.items():
        body = bytes(harness.runtime.result(job, seconds=40).body)
        if body.removesuffix(b"\n") != EXPECTED[name]:
            error = error_of(harness.runtime.result(job), function=name)
            assert error["reason"] == "not_started", error
            sentences.append(error["error"])
    return sentences


def check_right_or_failed(harness: WorkerHarness, jobs: dict[str, str]) -> None:
    """Every job has its own result, did not start, or is a shell that could not fork."""
    for name, job in jobs.items():
        result = harness.runtime.result(job, seconds=60)
        if bytes(result.body).removesuffix(b"\n") != EXPECTED[name]:
            error = error_of(result, function=name)
            assert error["reason"] in {"not_started", "exit"}, error
            assert error["reason"] == "not_started" or "fork" in error["stderr"], error


def check_all_right(harness: WorkerHarness) -> None:
    jobs = one_of_each(harness)
    for name, job in jobs.items():
        assert bytes(harness.runtime.result(job).body).removesuffix(b"\n") == EXPECTED[name], name


def check_no_bug(worker: Worker) -> None:
    assert "bug in cm-exec" not in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("free", range(14))
def test_descriptors_run_out(harness: WorkerHarness, free: int) -> None:
    """With any number of descriptors left, a job succeeds or says that it could not start, and soon."""
    worker = harness.start(ALL_MODES, "--concurrency", "2")
    check_all_right(harness)
    since = time.monotonic()
    with descriptors_left(worker.pid, free):
        sentences = check_right_or_not_started(harness, one_of_each(harness))
    assert time.monotonic() - since < 40, "no job waits for its timeout"
    assert all("descriptor" in s or "open files" in s for s in sentences), sentences
    for _ in range(4):
        check_all_right(harness)
    check_no_bug(worker)


def test_descriptors_run_out_for_results(harness: WorkerHarness) -> None:
    """A result that finds no descriptor for a connection is posted later."""
    worker = harness.start(ALL_MODES, "--concurrency", "4")
    harness.runtime.always(Endpoint.RESULT, responses.reset_before_response)
    jobs = one_of_each(harness)
    harness.runtime.request_log.wait_for(lambda: harness.runtime.posts(jobs["spawn"]), what="a post that fails")
    with descriptors_left(worker.pid, 0):
        seen = len(harness.runtime.request_log.all())
        harness.runtime.always(Endpoint.RESULT, responses.normal)
        harness.runtime.poll_seconds = 0.5
        harness.runtime.wait_for_poll(after=seen - len(jobs))
    check_right_or_not_started(harness, jobs)
    check_all_right(harness)
    check_no_bug(worker)


@pytest.mark.parametrize("number", [8, 10, 12, 14, 17, 20, 24, 30])
def test_few_descriptors_at_the_start(harness: WorkerHarness, number: int) -> None:
    """A worker that starts with few descriptors works, or waits and says what is missing, or ends and says so."""
    environment = unmeasured(harness.environment())
    harness.runtime.poll_seconds = 0.5  # a result may have to wait for the connection of the poll
    worker = harness.launch(ALL_MODES, environment=environment, wrapper=["prlimit", f"--nofile={number}:{number}"])
    request_log = harness.runtime.request_log

    def decided() -> bool:
        return bool(request_log.open_polls()) or not worker.is_running() or "open files; trying again" in worker.log

    request_log.wait_for(decided, what="the first poll, the end, or a line in the log")
    if request_log.open_polls():
        sentences = check_right_or_not_started(harness, one_of_each(harness))
        assert all("descriptor" in s or "open files" in s for s in sentences), sentences
    elif not worker.is_running():
        assert worker.process.returncode != 1
        assert "open files" in worker.log
    check_no_bug(worker)


@pytest.fixture
def lone_user() -> list[str]:
    """Return a wrapper that runs a command as a user without other processes, who may read all files."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv(1): the limit on processes does not apply to root")
    capabilities = "+dac_override,+dac_read_search"
    user = 200_000 + os.getpid()
    return [
        "setpriv",
        f"--reuid={user}",
        "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
    ]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 8, 12, 21])
def test_few_processes_at_the_start(harness: WorkerHarness, lone_user: list[str], number: int) -> None:
    """A worker that may start few processes and threads answers each job, and leaves nothing running."""
    config = ALL_MODES + function("endless", "while :; do echo x; sleep 0.1; done", stream=True, timeout=3)
    worker = harness.launch(config, "--concurrency", "4", wrapper=[*lone_user, "prlimit", f"--nproc={number}:{number}"])
    request_log = harness.runtime.request_log
    request_log.wait_for(lambda: request_log.open_polls() or not worker.is_running(), what="the first poll or the end")
    if worker.is_running():
        endless = [harness.runtime.submit("endless") for _ in range(3)]
        check_right_or_failed(harness, one_of_each(harness))
        for job in endless:
            assert error_of(harness.runtime.result(job))["reason"] in {"not_started", "timeout", "exit"}
    else:
        assert worker.process.returncode != 1
    check_no_bug(worker)


PROCESSES = 40
"""The limit on processes and threads where a test uses them up later."""

FILL = """
import sys, threading
threading.stack_size(65536)
stop = threading.Event()
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=stop.wait, daemon=True).start()
print("filled", flush=True)
sys.stdin.read()
"""


def tasks_of(user: int) -> int:
    """Count the processes and threads of a user."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
            count += int(lines["Threads"]) if int(lines["Uid"].split()[0]) == user else 0
    return count


@contextmanager
def processes_left(lone_user: list[str], number: int) -> Iterator[None]:
    """Use up all but so many of the processes that the user may have."""
    user = int(lone_user[1].partition("=")[2])
    needed = PROCESSES - tasks_of(user) - number
    if needed <= 0:
        yield
        return
    command = [*lone_user, sys.executable, "-S", "-E", "-c", FILL, str(needed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as filler:
        assert filler.stdout is not None
        assert filler.stdout.readline() == b"filled\n"
        try:
            yield
        finally:
            filler.kill()


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
def test_processes_run_out(harness: WorkerHarness, lone_user: list[str], number: int) -> None:
    """Jobs that cannot start fail alone, and the worker recovers."""
    limit = ["prlimit", f"--nproc={PROCESSES}:{PROCESSES}"]
    worker = harness.start(ALL_MODES, "--concurrency", "4", wrapper=[*lone_user, *limit])
    check_all_right(harness)
    with processes_left(lone_user, number):
        check_right_or_failed(harness, one_of_each(harness))
    for _ in range(3):
        check_all_right(harness)
    check_no_bug(worker)


def test_stream_without_processes(harness: WorkerHarness, lone_user: list[str]) -> None:
    """A streaming command never runs on after the worker's end, also where threads cannot be started."""
    config = function("endless", "while :; do echo x; read -r line < gate; done", stream=True, timeout=0)
    config += table("launcher", drain_timeout=1)
    os.mkfifo(harness.folder / "gate")
    limit = ["prlimit", f"--nproc={PROCESSES}:{PROCESSES}"]
    worker = harness.start(config, "--concurrency", "12", wrapper=[*lone_user, *limit])
    for number in (0, 1, 2, 3, 4, 6):
        with processes_left(lone_user, number):
            job = harness.runtime.submit("endless")
            harness.runtime.request_log.wait_for(partial(harness.runtime.posts, job), what="a post")
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    worker.wait_until_alone()
    check_no_bug(worker)


def test_memory_runs_out(harness: WorkerHarness) -> None:
    """A query that does not fit into memory is answered in the end, and the worker recovers without a traceback."""
    worker = harness.start(ALL_MODES)
    check_all_right(harness)
    with limited(worker.pid, resource.RLIMIT_AS, address_space(worker.pid) + (48 << 20)):
        large = harness.runtime.submit("spawn", json.dumps("x" * (100 << 20)).encode())
        harness.runtime.request_log.wait_for(
            lambda: large in harness.runtime.jobs.handed_out, what="handing out the large job"
        )
        worker.wait_for_log("memory")
    result = harness.runtime.result(large, seconds=60)
    assert bytes(result.body) == RESULT or json.loads(result.body)["reason"] in {"malformed_job", "not_started"}
    check_all_right(harness)
    assert len(harness.runtime.posts(large)) == 1
    check_no_bug(worker)


def test_large_result_without_memory(harness: WorkerHarness) -> None:
    """A large result is spooled, so that it needs little memory."""
    config = function("large", "head -c 200000000 /dev/zero", max_output=300_000_000) + ALL_MODES
    worker = harness.start(config)
    check_all_right(harness)
    with limited(worker.pid, resource.RLIMIT_AS, address_space(worker.pid) + (64 << 20)):
        result = harness.runtime.result(harness.runtime.submit("large"), seconds=60)
    assert result.size == 200_000_000 or error_of(result)
    check_all_right(harness)
    check_no_bug(worker)


SIZE = 20_000_000
LARGE = function("large", f"head -c {SIZE} /dev/zero") + function("live", f"head -c {SIZE} /dev/zero", stream=True)


def after_mounting(mounts: str) -> list[str]:
    return ["--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


def check_large_results(harness: WorkerHarness, worker: Worker) -> None:
    for name in ("large", "live"):
        assert harness.runtime.call(name) == bytes(SIZE), name
    assert "max_output" not in worker.log
    check_no_bug(worker)


def test_full_temporary_folder(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """A result that does not fit into a full temporary folder stays in memory."""
    full = after_mounting('mount -t tmpfs -o size=1m none "$TMPDIR"')
    check_large_results(harness, harness.start(LARGE, wrapper=[*unshare, *full]))


def test_temporary_folder_that_fills_up(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """The same holds for a folder that fills up later."""
    tmpfs = after_mounting('mount -t tmpfs -o size=50m none "$TMPDIR"')
    worker = harness.start(
        LARGE + function("fill", 'cat /dev/zero > "$TMPDIR/filled" || true'), wrapper=[*unshare, *tmpfs]
    )
    check_large_results(harness, worker)
    harness.runtime.call("fill")
    check_large_results(harness, worker)


def test_removed_temporary_folder(harness: WorkerHarness) -> None:
    """A temporary folder that is removed while the worker runs costs no result."""
    worker = harness.start(LARGE)
    check_large_results(harness, worker)
    shutil.rmtree(harness.folder.parent / "tmp")
    check_large_results(harness, worker)


def test_temporary_folder_that_becomes_read_only(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """A temporary folder that becomes read-only while the worker runs costs no result."""
    tmpfs = after_mounting('mount -t tmpfs -o size=90m none "$TMPDIR"')
    freeze = function("freeze", 'mount -o remount,ro "$TMPDIR" && ! touch "$TMPDIR/file" 2>/dev/null && echo frozen')
    worker = harness.start(LARGE + freeze, wrapper=[*unshare, *tmpfs])
    check_large_results(harness, worker)
    assert harness.runtime.call("freeze") == b"frozen\n"
    check_large_results(harness, worker)


def test_full_temporary_folder_and_max_output(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """With a full temporary folder a result of up to max_output is whole, and a larger one is output_limit."""
    full = after_mounting('mount -t tmpfs -o size=1m none "$TMPDIR"')
    config = function("fits", f"head -c {SIZE} /dev/zero", max_output=SIZE)
    config += function("larger", f"head -c {SIZE + 1} /dev/zero", max_output=SIZE)
    harness.start(config, wrapper=[*unshare, *full])
    assert harness.runtime.call("fits") == bytes(SIZE)
    assert error_of(harness.runtime.result(harness.runtime.submit("larger")))["reason"] == "output_limit"


def test_nearly_every_start_fails(harness: WorkerHarness) -> None:
    """A replica on which no job starts says so once, at a higher level than the single failures."""
    worker = harness.start(function("lost", ["/no/such/program"]), "--log-format", "sls")
    for _ in range(60):
        assert error_of(harness.runtime.result(harness.runtime.submit("lost")))["reason"] == "not_started"
    worker.stop()
    levels = [json.loads(line)["level"] for line in worker.stdout.splitlines()]
    assert levels.count("ERROR") == 1


def test_long_names_and_a_stuck_log(harness: WorkerHarness) -> None:
    """Function names of 5 MB give small errors and short log lines, and do not fill memory while the log is stuck."""
    read, write = os.pipe()
    worker = harness.launch(function("echo", ["cat"]), stdout=write)
    os.close(write)
    worker.wait_until_ready()
    name = "n" * 5_000_000
    for _ in range(25):
        result = harness.runtime.result(harness.runtime.submit(name))
        assert json.loads(bytes(result.body))["reason"] == "unknown_function"
        assert result.size < 5000
    assert peak_memory(worker.pid) < 160 << 20
    assert worker.stop() == 0
    os.close(read)
