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
def test_bad_handler(harness: WorkerHarness, handler: BadHandler) -> None:
    """A job of a bad handler is answered once, and no process remains."""
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


def test_output_before_the_exit(harness: WorkerHarness) -> None:
    """Output from before the exit is read, even if the launcher reads it late."""
    worker = harness.start(function("f", [sys.executable, "-S", str(SCRIPTS / "enlarges_its_pipe.py")]))
    job = harness.runtime.submit("f")
    wait_until(worker.descendants, what="the handler's start")
    worker.signal(signal.SIGSTOP)
    harness.folder.joinpath("go").touch()
    worker.wait_until_alone()
    worker.signal(signal.SIGCONT)
    assert bytes(harness.runtime.result(job).body) == bytes(1 << 20)


def test_stuck_handler(harness: WorkerHarness) -> None:
    """A stuck handler does not delay other functions."""
    harness.start(function("stuck", ["sleep", "300"], timeout=3) + GOOD, "--concurrency", "2")
    stuck = harness.runtime.submit("stuck")
    assert harness.runtime.call("good", b"1") == b"1"
    assert harness.runtime.posts(stuck) == []
    assert error_of(harness.runtime.result(stuck))["reason"] == "timeout"


def test_missing_folder(harness: WorkerHarness) -> None:
    """A command whose folder is missing is not started."""
    folder = harness.folder / "handlers"
    folder.mkdir()
    harness.start(function("f", "pwd", cwd="handlers"))
    folder.rmdir()
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert error["reason"] == "not_started"


def test_sigterm_before_sigkill(harness: WorkerHarness) -> None:
    """A handler gets SIGTERM, and time to exit, before SIGKILL."""
    worker = harness.start(function("f", "trap 'touch cleaned; exit 0' TERM; sleep 300 & wait", timeout=1))
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "timeout"
    assert harness.folder.joinpath("cleaned").exists()
    worker.wait_until_alone()


def test_timeout_0_means_none(harness: WorkerHarness) -> None:
    harness.start(function("f", "sleep 1; printf done", timeout=0))
    assert harness.runtime.call("f") == b"done"


def test_stderr_of_a_failure(harness: WorkerHarness) -> None:
    """An error has the last 4 KiB of stderr."""
    harness.start(function("f", "yes 0123456789abcde | head -c 100000 >&2; echo the end >&2; exit 1"))
    stderr = error_of(harness.runtime.result(harness.runtime.submit("f")))["stderr"]
    assert len(stderr.encode()) == 4096
    assert stderr.endswith("abcde\nthe end\n")


def test_stderr_of_a_timeout(harness: WorkerHarness) -> None:
    """The error of a timeout has the handler's stderr."""
    harness.start(function("f", "echo halfway >&2; sleep 300", timeout=1))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert (error["reason"], error["stderr"]) == ("timeout", "halfway\n")


def test_stderr_that_is_not_utf8(harness: WorkerHarness) -> None:
    """Stderr that is not UTF-8 does not break the error."""
    harness.start(function("f", r"printf '\377\000x' >&2; exit 1"))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert (error["reason"], error["exitCode"]) == ("exit", 1)
    assert error["stderr"].endswith("x")
