"""A job that is handed out again, and a result that is not accepted, cost neither an answer nor the slot."""

import json

import pytest

from tests.support import behaviours, stalls
from tests.support.answers import error_of
from tests.support.bench import Bench
from tests.support.jobs import job_body
from tests.support.ledger import Endpoint, Request
from tests.support.toml import function

ECHO = function("echo", ["cat"])
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")
LONG = json.dumps("x" * 1000).encode()


def most_per_second(requests: list[Request]) -> int:
    times = [r.at for r in requests]
    return max((sum(1 for t in times if start <= t < start + 1) for start in times), default=0)


def truncate(bench: Bench, job_id: str | None = None) -> str:
    """Hand out a job whose delivery breaks off and is not repeated."""
    bench.runtime.poll_seconds = 0.2
    polls = bench.runtime.ledger.all(Endpoint.JOB)
    bench.runtime.script(Endpoint.JOB, behaviours.lose_job)
    bench.runtime.wait_for_poll(after=len(polls))  # the one that was open has passed
    seen = len(bench.runtime.jobs.handed_out)
    job = bench.runtime.submit("echo", LONG, job_id=job_id)
    bench.runtime.ledger.wait_for(lambda: len(bench.runtime.jobs.handed_out) > seen, what="a truncated delivery")
    return job


def test_truncated_redelivery_of_an_answered_job(bench: Bench) -> None:
    """An accepted result is not followed by an error when the job's redelivery breaks off."""
    bench.start(ECHO)
    job = bench.runtime.submit("echo", b"[1]")
    bench.runtime.result(job)
    truncate(bench, job)
    later = truncate(bench)
    assert error_of(bench.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert bench.runtime.call("echo", b"2") == b"2"
    assert [bytes(post.body) for post in bench.runtime.posts(job)] == [b"[1]"]


def test_truncated_redelivery_of_a_job_in_progress(bench: Bench) -> None:
    """A job in progress keeps its own result when its redelivery breaks off."""
    bench.start(ECHO + BLOCKED, "--concurrency", "2")
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    truncate(bench, job)
    later = truncate(bench)
    assert error_of(bench.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert bench.runtime.posts(job) == []
    bench.folder.joinpath("go").touch()
    assert bytes(bench.runtime.result(job).body) == b"done"
    assert bench.runtime.call("echo", b"2") == b"2"
    assert len(bench.runtime.posts(job)) == 1


def test_truncated_job_that_comes_again(bench: Bench) -> None:
    """A truncated job that is delivered whole afterwards has one result, and no error later."""
    bench.start(ECHO)
    job = truncate(bench)
    bench.runtime.submit("echo", b"[1]", job_id=job)
    assert bytes(bench.runtime.result(job).body) == b"[1]"
    later = truncate(bench)
    assert error_of(bench.runtime.result(later, seconds=60))["reason"] == "malformed_job"
    assert len(bench.runtime.posts(job)) == 1


def test_redelivery_of_an_answered_job(bench: Bench) -> None:
    """An accepted result is not followed by another one when the whole job is handed out again."""
    bench.start(ECHO)
    job = bench.runtime.submit("echo", b"[1]")
    bench.runtime.result(job)
    bench.runtime.submit("echo", b"[2]", job_id=job)
    assert bench.runtime.call("echo", b"3") == b"3"
    assert [bytes(post.body) for post in bench.runtime.posts(job)] == [b"[1]"]


def test_redelivery_does_not_spin(bench: Bench) -> None:
    """A runtime that responds to every poll with a job in progress is asked a few times per second."""
    body = job_body(b"1", job_id="j", query_type="blocked", members={})
    bench.start(BLOCKED + ECHO, "--concurrency", "2")
    bench.runtime.always(Endpoint.JOB, stalls.hand_out_again("j", body))
    bench.runtime.submit("blocked", b"1", job_id="j")
    ledger = bench.runtime.ledger
    ledger.wait_for(bench.folder.joinpath("started").exists, what="the job's start")
    first = ledger.all(Endpoint.JOB)[-1]
    ledger.wait_for(lambda: any(r.at > first.at + 4 for r in ledger.all(Endpoint.JOB)), what="polls for 4 s")
    assert most_per_second([r for r in ledger.all(Endpoint.JOB) if r.at > first.at]) < 12
    bench.runtime.always(Endpoint.JOB, behaviours.normal)
    assert bench.runtime.call("echo", b"2") == b"2"
    bench.folder.joinpath("go").touch()
    assert bytes(bench.runtime.result("j").body) == b"done"
    assert len(bench.runtime.posts("j")) == 1


def test_redelivery_of_a_finished_job_does_not_spin(bench: Bench) -> None:
    """The same holds when the job's result has been accepted."""
    body = job_body(b"1", job_id="j", query_type="echo", members={})
    bench.start(ECHO)
    bench.runtime.always(Endpoint.JOB, stalls.hand_out_again("j", body))
    bench.runtime.submit("echo", b"1", job_id="j")
    ledger = bench.runtime.ledger
    first = bench.runtime.result("j")
    ledger.wait_for(lambda: any(r.at > first.at + 4 for r in ledger.all(Endpoint.JOB)), what="polls for 4 s")
    assert most_per_second([r for r in ledger.all(Endpoint.JOB) if r.at > first.at]) < 12
    bench.runtime.always(Endpoint.JOB, behaviours.normal)
    assert bench.runtime.call("echo", b"2") == b"2"
    assert len(bench.runtime.posts("j")) == 1


def test_one_bad_result_does_not_stop_other_slots(bench: Bench) -> None:
    """A result that is answered with 500 for ever holds its own slot only, and is retried without spinning."""
    bench.start(ECHO, "--concurrency", "2")
    bench.runtime.always(Endpoint.RESULT, stalls.only_for("poison", behaviours.answer(500)))
    bench.runtime.submit("echo", b"1", job_id="poison")
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: len(bench.runtime.posts("poison")) >= 4, what="four tries")
    assert [bench.runtime.call("echo", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert most_per_second(bench.runtime.posts("poison")) < 8
    bench.runtime.always(Endpoint.RESULT, behaviours.normal)
    assert bytes(bench.runtime.result("poison").body) == b"1"


@pytest.mark.parametrize("status", [200, 413])
def test_early_response(bench: Bench, status: int) -> None:
    """A response that comes while the body is sent is seen at once, and its connection is not used again.

    A refusal counts. A 2xx cannot be for a body that the runtime does not have: the result is posted again, whole.
    """
    bench.start(function("large", "head -c 60000000 /dev/zero") + ECHO)
    bench.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(status))
    job = bench.runtime.submit("large")
    assert bytes(bench.runtime.result(bench.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    first, *others = bench.runtime.posts(job)
    if status == 413:
        assert error_of(bench.runtime.result(job))["reason"] == "result_rejected"
    else:
        assert [(post.size, post.status) for post in others] == [(60_000_000, 204)]
    assert [r for r in bench.runtime.ledger.all() if r.connection == first.connection][-1] is first


def test_stream_that_is_refused_at_once(bench: Bench) -> None:
    """A stream that the runtime answers with 404 at its head ends, and frees its slot."""
    bench.start(function("s", "while :; do echo x; sleep 0.05; done", stream=True, timeout=0) + ECHO)
    bench.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(404))
    job = bench.runtime.submit("s")
    assert bytes(bench.runtime.result(bench.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    assert len(bench.runtime.posts(job)) == 1
    bench.workers[0].wait_until_alone()


def test_silent_stream_that_is_refused(bench: Bench) -> None:
    """A stream that writes nothing more after the 404 ends too."""
    bench.start(function("s", "echo x; sleep 200", stream=True, timeout=0) + ECHO)
    bench.runtime.script(Endpoint.RESULT, stalls.answer_without_reading(404))
    bench.runtime.submit("s")
    assert bytes(bench.runtime.result(bench.runtime.submit("echo", b"2"), seconds=20).body) == b"2"
    bench.workers[0].wait_until_alone()


def test_total_deadline(bench: Bench) -> None:
    """A poll and a post end at their total deadline, although bytes keep coming."""
    bench.start(ECHO, "--concurrency", "2")
    bench.runtime.script(Endpoint.RESULT, stalls.DRIPPING)
    bench.runtime.script(Endpoint.JOB, stalls.DRIPPING)
    job = bench.runtime.submit("echo", b"1")
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: bench.runtime.posts(job), what="the post that stalls")
    stalled = ledger.wait_for(
        lambda: [r for r in ledger.all(Endpoint.JOB) if r.gone_at], what="end of poll", seconds=70
    )
    assert stalled[0].gone_at is not None
    assert 20 < stalled[0].gone_at - stalled[0].at < 50
    assert bytes(bench.runtime.result(job, seconds=90).body) == b"1"
    assert bench.runtime.call("echo", b"2") == b"2"
