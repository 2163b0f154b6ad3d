"""stream = true, through the installed cm-exec and a real runtime."""

import pytest

from tests.support import responses
from tests.support.answers import error_of
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

WAITING = "printf begin; while [ ! -e go ]; do sleep 0.01; done; "
LARGE = 3_000_000


def streaming(command: str, **options: object) -> str:
    return function("f", command, stream=True, **options)


def wait_for_the_first_part(harness: WorkerHarness, job: str) -> None:
    """Wait until the runtime has what WAITING prints."""
    harness.runtime.request_log.wait_for(
        lambda: any(bytes(p.body) == b"begin" for p in harness.runtime.posts(job)), what="the first part"
    )


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_a_part_is_posted_before_the_end(harness: WorkerHarness, mode: str) -> None:
    harness.start(streaming(WAITING + "printf end", mode=mode))
    job = harness.runtime.submit("f")
    wait_for_the_first_part(harness, job)
    (post,) = harness.runtime.posts(job)
    assert post.head.header("transfer-encoding") == "chunked"
    assert post.head.header("content-length") is None
    harness.folder.joinpath("go").touch()
    assert bytes(harness.runtime.result(job).body) == b"beginend"
    assert len(harness.runtime.posts(job)) == 1


def test_an_empty_stream_is_an_empty_result(harness: WorkerHarness) -> None:
    harness.start(streaming("true"))
    assert harness.runtime.call("f") == b""


def test_a_large_stream_comes_whole(harness: WorkerHarness) -> None:
    harness.start(streaming(f"yes 0123456 | head -c {LARGE}"))
    assert harness.runtime.call("f") == b"0123456\n" * (LARGE // 8)


def test_broken_post(harness: WorkerHarness) -> None:
    """A post that breaks midway is repeated whole."""
    harness.start(streaming(f"yes 0123456 | head -c {LARGE}"))
    harness.runtime.script(Endpoint.RESULT, responses.reset_within_request(100_000), responses.answer(503))
    job = harness.runtime.submit("f")
    assert bytes(harness.runtime.result(job).body) == b"0123456\n" * (LARGE // 8)
    assert [post.status for post in harness.runtime.posts(job)] == [None, 503, 204]


@pytest.mark.parametrize(("end", "reason"), [("exit 3", "exit"), ("kill -9 $$", "signal"), ("sleep 300", "timeout")])
def test_failure_midway(harness: WorkerHarness, end: str, reason: str) -> None:
    """A command that fails midway is an error after a truncated body."""
    harness.start(streaming(WAITING + end, timeout=5))
    job = harness.runtime.submit("f")
    wait_for_the_first_part(harness, job)
    harness.folder.joinpath("go").touch()
    result = harness.runtime.result(job)
    assert error_of(result, function="f")["reason"] == reason
    first, second = harness.runtime.posts(job)
    assert (bytes(first.body), first.complete, first.accepted) == (b"begin", False, False)
    assert second is result


def test_failure_before_the_first_byte(harness: WorkerHarness) -> None:
    """A command that fails before its first byte is a single error."""
    harness.start(streaming("exit 3"))
    job = harness.runtime.submit("f")
    assert error_of(harness.runtime.result(job))["reason"] == "exit"
    assert len(harness.runtime.posts(job)) == 1


def test_output_limit(harness: WorkerHarness) -> None:
    """More output than max_output is an error after a truncated body."""
    harness.start(streaming(WAITING + "yes", max_output=LARGE))
    job = harness.runtime.submit("f")
    wait_for_the_first_part(harness, job)
    harness.folder.joinpath("go").touch()
    assert error_of(harness.runtime.result(job))["reason"] == "output_limit"
    assert not harness.runtime.posts(job)[0].accepted


def test_rejected_stream(harness: WorkerHarness) -> None:
    """A rejected stream is an error that says so."""
    harness.start(streaming(f"head -c {LARGE} /dev/zero"))
    harness.runtime.script(Endpoint.RESULT, responses.answer_early(413))
    job = harness.runtime.submit("f")
    error = error_of(harness.runtime.result(job))
    assert error["reason"] == "result_rejected"
    assert "413" in error["error"]


def test_jobs_after_a_broken_stream_are_served(harness: WorkerHarness) -> None:
    harness.start(streaming(WAITING + "exit 1") + function("good", "cat"))
    harness.folder.joinpath("go").touch()
    for number in range(3):
        assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "exit"
        assert harness.runtime.call("good", b"%d" % number) == b"%d" % number
