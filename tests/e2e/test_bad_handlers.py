import signal
import sys

import pytest

from tests.support.answers import error_of
from tests.support.bad_handlers.catalogue import CATALOGUE, SCRIPTS, BadHandler
from tests.support.processes import children, wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

GOOD = function("good", "cat")


@pytest.mark.parametrize("handler", CATALOGUE, ids=lambda handler: handler.name)
def test_a_bad_handler_is_answered_once_and_leaves_no_process(harness: WorkerHarness, handler: BadHandler) -> None:
    worker = harness.start(function("bad", handler.command, **handler.options) + GOOD)
    result = harness.runtime.result(harness.runtime.submit("bad", handler.query))
    if handler.result is None:
        assert handler.error.items() <= error_of(result, function="bad").items()
    else:
        assert bytes(result.body) == handler.result
    worker.wait_until_alone()
    assert harness.runtime.call("good", b'"still here"') == b'"still here"'
    assert [p for p in children(worker.pid) if p.state == "Z"] == []
    assert len(harness.runtime.posts(result.job_id)) == 1


def test_what_was_written_before_the_exit_is_read_however_late_the_launcher_looks(harness: WorkerHarness) -> None:
    worker = harness.start(function("f", [sys.executable, "-S", str(SCRIPTS / "enlarges_its_pipe.py")]))
    job = harness.runtime.submit("f")
    wait_until(worker.descendants, what="the handler's start")
    worker.signal(signal.SIGSTOP)
    harness.folder.joinpath("go").touch()
    worker.wait_until_alone()
    worker.signal(signal.SIGCONT)
    assert bytes(harness.runtime.result(job).body) == bytes(1 << 20)


def test_a_failed_handler_does_not_hold_up_the_ones_beside_it(harness: WorkerHarness) -> None:
    harness.start(function("stuck", ["sleep", "300"], timeout=3) + GOOD, "--concurrency", "2")
    stuck = harness.runtime.submit("stuck")
    assert harness.runtime.call("good", b"1") == b"1"
    assert harness.runtime.posts(stuck) == []
    assert error_of(harness.runtime.result(stuck))["reason"] == "timeout"


def test_a_missing_folder_is_told_as_not_started(harness: WorkerHarness) -> None:
    folder = harness.folder / "handlers"
    folder.mkdir()
    harness.start(function("f", "pwd", cwd="handlers"))
    folder.rmdir()
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert error["reason"] == "not_started"


def test_a_handler_is_asked_to_end_before_it_is_made_to(harness: WorkerHarness) -> None:
    worker = harness.start(function("f", "trap 'touch cleaned; exit 0' TERM; sleep 300 & wait", timeout=1))
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "timeout"
    assert harness.folder.joinpath("cleaned").exists()
    worker.wait_until_alone()


def test_timeout_0_means_none(harness: WorkerHarness) -> None:
    harness.start(function("f", "sleep 1; printf done", timeout=0))
    assert harness.runtime.call("f") == b"done"


def test_an_error_result_carries_the_last_4_kib_of_stderr(harness: WorkerHarness) -> None:
    harness.start(function("f", "yes 0123456789abcde | head -c 100000 >&2; echo the end >&2; exit 1"))
    stderr = error_of(harness.runtime.result(harness.runtime.submit("f")))["stderr"]
    assert len(stderr.encode()) == 4096
    assert stderr.endswith("abcde\nthe end\n")


def test_a_timeout_tells_what_the_handler_had_said(harness: WorkerHarness) -> None:
    harness.start(function("f", "echo halfway >&2; sleep 300", timeout=1))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert (error["reason"], error["stderr"]) == ("timeout", "halfway\n")


def test_stderr_that_is_not_utf8_does_not_break_the_error_result(harness: WorkerHarness) -> None:
    harness.start(function("f", r"printf '\377\000x' >&2; exit 1"))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert (error["reason"], error["exitCode"]) == ("exit", 1)
    assert error["stderr"].endswith("x")
