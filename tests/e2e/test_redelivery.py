"""A job that is handed out again, and a result that is not accepted, cost neither an answer nor the slot."""

import json

import pytest

from tests.support import responses, stalls
from tests.support.answers import error_of
from tests.support.jobs import job_body
from tests.support.request_log import Endpoint, Request
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"])
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")
LONG = json.dumps("x" * 1000).encode()


def most_per_second(requests: list[Request]) -> int:
    times = [r.at for r in requests]
    return max((sum(1 for t in times if start <= t < start + 1) for start in times), default=0)


def truncate(harness: WorkerHarness, job_id: str | None = None) -> str:
    """Hand out a job whose delivery breaks off and is not repeated."""
    harness.runtime.poll_seconds = 0.2
    polls = harness.runtime.request_log.all(Endpoint.JOB)
    harness.runtime.script(Endpoint.JOB, responses.lose_job)
    harness.runtime.wait_for_poll(after=len(polls))  # the one that was open has passed
    seen = len(harness.runtime.jobs.handed_out)
    job = harness.runtime.submit("echo", LONG, job_id=job_id)
    harness.runtime.request_log.wait_for(
        lambda: len(harness.runtime.jobs.handed_out) > seen, what="a truncated delivery"
    )
    return job


def test_truncated_redelivery_of_an_answered_job(harness: WorkerHarness) -> None:
    """An accepted result is not followed by an error when the job's redelivery breaks off."""
    harness.start(ECHO)
    job = harness.runtime.submit("echo", b"[1]")
    harness.runtime.result(job)
    truncate(harness, job)
    later = truncate(harness)
    assert error_of(harness.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert harness.runtime.call("echo", b"2") == b"2"
    assert [bytes(post.body) for post in harness.runtime.posts(job)] == [b"[1]"]


def test_truncated_redelivery_of_a_job_in_progress(harness: WorkerHarness) -> None:
    """A job in progress keeps its own result when its redelivery breaks off."""
    harness.start(ECHO + BLOCKED, "--concurrency", "2")
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    truncate(harness, job)
    later = truncate(harness)
    assert error_of(harness.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert harness.runtime.posts(job) == []
    harness.folder.joinpath("go").touch()
    assert bytes(harness.runtime.result(job).body) == b"done"
    assert harness.runtime.call("echo", b"2") == b"2"
    assert len(harness.runtime.posts(job)) == 1


def test_truncated_job_that_comes_again(harness: WorkerHarness) -> None:
    """A truncated job that is delivered whole afterwards has one result, and no error later."""
    harness.start(ECHO)
    job = truncate(harness)
    harness.runtime.submit("echo", b"[1]", job_id=job)
    assert bytes(harness.runtime.result(job).body) == b"[1]"
    later = truncate(harness)
    assert error_of(harness.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert len(harness.runtime.posts(job)) == 1


def test_redelivery_of_an_answered_job(harness: WorkerHarness) -> None:
    """An accepted result is not followed by another one when the whole job is handed out again."""
    harness.start(ECHO)
    job = harness.runtime.submit("echo", b"[1]")
    harness.runtime.result(job)
    harness.runtime.submit("echo", b"[2]", job_id=job)
    assert harness.runtime.call("echo", b"3") == b"3"
    assert [bytes(post.body) for post in harness.runtime.posts(job)] == [b"[1]"]


def test_redelivery_does_not_spin(harness: WorkerHarness) -> None:
    """A runtime that responds to every poll with a job in progress is asked a few times per second."""
    body = job_body(b"1", job_id="j", query_type="blocked", members={})
    harness.start(BLOCKED + ECHO, "--concurrency", "2")
    harness.runtime.always(Endpoint.JOB, stalls.hand_out_again(body))
    harness.runtime.submit("blocked", b"1", job_id="j")
    request_log = harness.runtime.request_log
    request_log.wait_for(harness.folder.joinpath("started").exists, what="the job's start")
    first = request_log.all(Endpoint.JOB)[-1]
    request_log.wait_for(lambda: any(r.at > first.at + 4 for r in request_log.all(Endpoint.JOB)), what="polls for 4 s")
    assert most_per_second([r for r in request_log.all(Endpoint.JOB) if r.at > first.at]) < 12
    harness.runtime.always(Endpoint.JOB, responses.normal)
    assert harness.runtime.call("echo", b"2") == b"2"
    harness.folder.joinpath("go").touch()
    assert bytes(harness.runtime.result("j").body) == b"done"
    assert len(harness.runtime.posts("j")) == 1


def test_redelivery_of_a_finished_job_does_not_spin(harness: WorkerHarness) -> None:
    """The same holds when the job's result has been accepted."""
    body = job_body(b"1", job_id="j", query_type="echo", members={})
    harness.start(ECHO)
    harness.runtime.always(Endpoint.JOB, stalls.hand_out_again(body))
    harness.runtime.submit("echo", b"1", job_id="j")
    request_log = harness.runtime.request_log
    first = harness.runtime.result("j")
    request_log.wait_for(lambda: any(r.at > first.at + 4 for r in request_log.all(Endpoint.JOB)), what="polls for 4 s")
    assert most_per_second([r for r in request_log.all(Endpoint.JOB) if r.at > first.at]) < 12
    harness.runtime.always(Endpoint.JOB, responses.normal)
    assert harness.runtime.call("echo", b"2") == b"2"
    assert len(harness.runtime.posts("j")) == 1


def test_one_bad_result_does_not_stop_other_slots(harness: WorkerHarness) -> None:
    """A result that is answered with 500 for ever holds its own slot only, and is retried without spinning."""
    harness.start(ECHO, "--concurrency", "2")
    harness.runtime.always(Endpoint.RESULT, stalls.only_for("poison", responses.answer(500)))
    harness.runtime.submit("echo", b"1", job_id="poison")
    request_log = harness.runtime.request_log
    request_log.wait_for(lambda: len(harness.runtime.posts("poison")) >= 4, what="four tries")
    assert [harness.runtime.call("echo", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert most_per_second(harness.runtime.posts("poison")) < 8
    harness.runtime.always(Endpoint.RESULT, responses.normal)
    assert bytes(harness.runtime.result("poison").body) == b"1"


@pytest.mark.parametrize("status", [200, 413])
def test_early_response(harness: WorkerHarness, status: int) -> None:
    """A response that comes while the body is sent is seen at once, and its connection is not used again.

    A refusal counts. A 2xx cannot be for a body that the runtime does not have: the result is posted again, whole.
    """
    harness.start(function("large", "head -c 60000000 /dev/zero") + ECHO)
    harness.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(status))
    job = harness.runtime.submit("large")
    assert bytes(harness.runtime.result(harness.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    first, *others = harness.runtime.posts(job)
    if status == 413:
        assert error_of(harness.runtime.result(job))["reason"] == "result_rejected"
    else:
        assert [(post.size, post.status) for post in others] == [(60_000_000, 204)]
    assert [r for r in harness.runtime.request_log.all() if r.connection == first.connection][-1] is first


def test_stream_that_is_refused_at_once(harness: WorkerHarness) -> None:
    """A stream that the runtime answers with 404 at its head ends, and frees its slot."""
    harness.start(function("s", "while :; do echo x; sleep 0.05; done", stream=True, timeout=0) + ECHO)
    harness.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(404))
    job = harness.runtime.submit("s")
    assert bytes(harness.runtime.result(harness.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    assert len(harness.runtime.posts(job)) == 1
    harness.workers[0].wait_until_alone()


def test_silent_stream_that_is_refused(harness: WorkerHarness) -> None:
    """A stream that writes nothing more after the 404 ends too."""
    harness.start(function("s", "echo x; sleep 200", stream=True, timeout=0) + ECHO)
    harness.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(404))
    harness.runtime.submit("s")
    assert bytes(harness.runtime.result(harness.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    harness.workers[0].wait_until_alone()


@pytest.mark.long
def test_total_deadline(harness: WorkerHarness) -> None:
    """A poll and a post end at their total deadline, although bytes keep coming."""
    harness.start(ECHO, "--concurrency", "2")
    harness.runtime.script(Endpoint.RESULT, stalls.DRIPPING)
    harness.runtime.script(Endpoint.JOB, stalls.DRIPPING)
    job = harness.runtime.submit("echo", b"1")
    request_log = harness.runtime.request_log
    request_log.wait_for(lambda: harness.runtime.posts(job), what="the post that stalls")
    stalled = request_log.wait_for(
        lambda: [r for r in request_log.all(Endpoint.JOB) if r.gone_at], what="end of poll", seconds=70
    )
    assert stalled[0].gone_at is not None
    assert 20 < stalled[0].gone_at - stalled[0].at < 50
    assert bytes(harness.runtime.result(job, seconds=90).body) == b"1"
    assert harness.runtime.call("echo", b"2") == b"2"
