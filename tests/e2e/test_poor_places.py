"""Containers are poor places, and what comes over the wire may be strange: jobs are answered all the same."""

import json

import pytest

from tests.support.answers import error_of
from tests.support.processes import open_descriptors, wait_until
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"])
LARGE = function("large", "head -c 20000000 /dev/zero")


def after_mounting(mounts: str) -> list[str]:
    return ["--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


def test_read_only_root(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """Without a writable folder results stay in memory, and the start line says so."""
    worker = harness.start(LARGE + ECHO, wrapper=[*unshare, *after_mounting("mount -o remount,bind,ro /")])
    assert harness.runtime.call("large") == bytes(20_000_000)
    assert harness.runtime.call("echo", b"1") == b"1"
    worker.wait_for_log("memory")


def test_full_temporary_folder(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """A full temporary folder fails only the job that fills it."""
    full = after_mounting('mount -t tmpfs -o size=1m none "$TMPDIR"')
    worker = harness.start(LARGE + ECHO, wrapper=[*unshare, *full])
    result = harness.runtime.result(harness.runtime.submit("large"))
    assert bytes(result.body) == bytes(20_000_000) or error_of(result, function="large")
    assert harness.runtime.call("echo", b"1") == b"1"
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(harness: WorkerHarness, closed: str) -> None:
    """Closed standard descriptors corrupt nothing."""
    harness.start(ECHO + function("fails", "echo why >&2; exit 1"), wrapper=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert error_of(harness.runtime.result(harness.runtime.submit("fails")))["stderr"] == "why\n"
    assert [harness.runtime.call("echo", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]


def test_few_descriptors(harness: WorkerHarness) -> None:
    """A lack of descriptors fails jobs and not the worker."""
    config = function("f", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")
    limited = ["sh", "-c", 'ulimit -n 36 && exec "$@"', "sh"]
    worker = harness.start(config, "--concurrency", "6", wrapper=limited)
    jobs = [harness.runtime.submit("f") for _ in range(12)]
    harness.runtime.request_log.wait_for(
        lambda: len(harness.runtime.jobs.handed_out) == 12, what="handing out all jobs"
    )
    harness.folder.joinpath("go").touch()
    for job in jobs:
        result = harness.runtime.result(job, seconds=60)
        assert bytes(result.body) == b"done" or error_of(result)["reason"] == "not_started"
    assert harness.runtime.call("f") == b"done"
    assert "Traceback" not in worker.log


def test_jobs_leave_no_descriptor_open(harness: WorkerHarness) -> None:
    worker = harness.start(ECHO + LARGE + function("lost", ["/no/such/program"]) + function("fails", "exit 1"))
    functions = ["echo", "large", "lost", "fails"]

    def some_of_each() -> None:
        for name in functions * 5:
            harness.runtime.call(name)

    some_of_each()
    before = open_descriptors(worker.pid)
    some_of_each()
    some_of_each()
    wait_until(lambda: open_descriptors(worker.pid) <= before + 2, what="closing what the last job had open")


STRANGE = ["a\0b", "line\nFORGED\r\nend", "\x1b[2J", " ", "%", "'; exit 1; '"]


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_function_name(harness: WorkerHarness, text: str) -> None:
    """A strange function name is answered, and forges no log line."""
    worker = harness.start(ECHO)
    job = harness.runtime.submit(text)
    assert error_of(harness.runtime.result(job), function=text)["reason"] == "unknown_function"
    worker.stop()
    assert [line for line in worker.stdout.splitlines() if line.startswith("FORGED")] == []


def test_function_name_that_is_not_unicode(harness: WorkerHarness) -> None:
    """A function name that is not Unicode is answered."""
    harness.start(ECHO)
    result = harness.runtime.result(harness.runtime.submit("\ud83d"))
    assert error_of(result)["reason"] in {"unknown_function", "malformed_job"}


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_job_id(harness: WorkerHarness, text: str) -> None:
    """A job with a strange id is answered, and forges no log line."""
    worker = harness.start(ECHO)
    harness.runtime.submit("echo", b"[1]", job_id=text)
    result = harness.runtime.result(text)
    assert bytes(result.body) == b"[1]" or error_of(result)
    assert harness.runtime.call("echo", b"2") == b"2"
    worker.stop()
    assert [line for line in worker.stdout.splitlines() if line.startswith("FORGED")] == []


def test_job_id_for_no_url(harness: WorkerHarness) -> None:
    """A job id that no URL can contain does not stop the worker."""
    harness.start(ECHO)
    harness.runtime.submit("echo", b"[1]", job_id="\ud83d")
    assert harness.runtime.call("echo", b"2") == b"2"


@pytest.mark.parametrize("member", ["userId", "authHeader", "temporaryCredentialsAuthToken"])
@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "x" * 300_000], ids=["NUL", "half a pair", "long"])
def test_member_for_no_environment(harness: WorkerHarness, member: str, text: str) -> None:
    """A job with a member that no environment can contain is answered."""
    worker = harness.start(function("echo", ["cat"], credentials=True))
    result = harness.runtime.result(harness.runtime.submit("echo", b"[1]", members={member: text}))
    assert bytes(result.body) == b"[1]" or error_of(result)["reason"] in {"malformed_job", "not_started"}
    assert harness.runtime.call("echo", b"2") == b"2"
    assert "Traceback" not in worker.log


def test_member_of_another_type(harness: WorkerHarness) -> None:
    """A job with a member of another type is answered."""
    harness.start(ECHO)
    body = {"jobId": "j", "queryType": "echo", "query": 1, "userId": 7, "authHeader": {"a": 1}}
    harness.runtime.submit_raw("j", json.dumps({"computeModuleJobV1": body}).encode())
    assert bytes(harness.runtime.result("j").body) == b"1"


def test_a_numeric_job_id_is_answered(harness: WorkerHarness) -> None:
    harness.start(ECHO)
    harness.runtime.submit_raw("7", b'{"computeModuleJobV1":{"jobId":7,"queryType":"echo","query":1}}')
    assert harness.runtime.result("7").size


def test_line_end_in_the_token(harness: WorkerHarness) -> None:
    """A line end in the token adds no header."""
    harness.replica.token_file.write_text("token\r\nX-Injected: yes\r\n")
    worker = harness.launch(ECHO)
    harness.runtime.tokens.add("token")
    worker.wait_for_log("token")
    assert not any(r.head.header("x-injected") for r in harness.runtime.request_log.all())
    assert "Traceback" not in worker.log
    harness.replica.write_token(harness.runtime.token)
    if worker.is_running():
        worker.wait_until_ready()
    else:
        assert worker.process.returncode == 4


def test_endpoint_of_results(harness: WorkerHarness) -> None:
    """Every result is posted to the result endpoint, whatever the job's id contains."""
    harness.start(ECHO)
    for job_id in ("..", ".", "../restart-notify", "//x/y", "?x", "#x"):
        harness.runtime.submit("echo", b"1", job_id=job_id)
    assert harness.runtime.call("echo", b"2") == b"2"
    assert len(harness.runtime.request_log.all(Endpoint.RESTART)) == 1
    assert not harness.runtime.request_log.all(Endpoint.OTHER)
