import itertools

import pytest

from tests.support import responses
from tests.support.answers import error_of
from tests.support.processes import cpu_seconds
from tests.support.request_log import Endpoint, Request
from tests.support.responses import Behaviour
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])
BLOCKED = function("f", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")

POLL_FAULTS: dict[str, Behaviour] = {
    "400": responses.answer(400),
    "401": responses.answer(401),
    "403": responses.answer(403, b"forbidden"),
    "404": responses.answer(404, b"<html>not found</html>"),
    "429": responses.answer(429),
    "500": responses.answer(500, b"oops"),
    "503": responses.answer(503, b"", [("Retry-After", "1")]),
    "302": responses.answer(302, b"", [("Location", "https://localhost:1/elsewhere")]),
    "reset": responses.reset_before_response,
    "reset within the answer": responses.reset_within_response(b'{"computeModuleJobV1":{', sent=9),
    "garbage": responses.garbage,
    "not JSON": responses.answer(200, b"<html>hello</html>"),
    "empty 200": responses.answer(200),
    "no job in it": responses.answer(200, b'{"type":"somethingElse","somethingElse":{}}'),
    "closed after 204": responses.then_close(responses.answer(204), announced=False),
    "closed after 204, announced": responses.then_close(responses.answer(204), announced=True),
}

RESULT_FAULTS: dict[str, Behaviour] = {
    "401": responses.answer(401),
    "408": responses.answer(408),
    "429": responses.answer(429, b"slow down", [("Retry-After", "1")]),
    "500": responses.answer(500, b"oops"),
    "502": responses.answer(502, b"<html>bad gateway</html>"),
    "503": responses.answer(503),
    "reset": responses.reset_before_response,
    "reset within the request": responses.reset_within_request(3),
    "taken, then reset": responses.accept_then_reset,
    "garbage": responses.garbage,
    "closed after 500": responses.then_close(responses.answer(500), announced=False),
}


def per_second(requests: list[Request]) -> int:
    """Return the largest number of requests in a second."""
    times = [r.at for r in requests]
    return max((sum(1 for t in times if start <= t < start + 1) for start in times), default=0)


@pytest.mark.parametrize("fault", POLL_FAULTS)
def test_a_job_after_failed_polls_is_answered(harness: WorkerHarness, fault: str) -> None:
    harness.runtime.script(Endpoint.JOB, *[POLL_FAULTS[fault]] * 3)
    harness.start(ECHO)
    assert harness.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize("fault", RESULT_FAULTS)
def test_repeated_posts(harness: WorkerHarness, fault: str) -> None:
    """A good result is posted until it is accepted, and never replaced."""
    harness.runtime.script(Endpoint.RESULT, *[RESULT_FAULTS[fault]] * 3)
    harness.start(ECHO)
    job = harness.runtime.submit("f", b"[1]")
    harness.runtime.request_log.wait_for(lambda: len(harness.runtime.posts(job)) == 4, what="the fourth post")
    harness.runtime.result(job)
    posts = harness.runtime.posts(job)
    assert {bytes(p.body) for p in posts if p.complete} == {b"[1]"}
    assert per_second(posts) < 8
    assert harness.runtime.call("f", b"[2]") == b"[2]"


def test_reset_in_a_large_result(harness: WorkerHarness) -> None:
    """A large result survives a reset in its middle."""
    size = 20_000_000
    harness.runtime.script(Endpoint.RESULT, *[responses.reset_within_request(size // 2)] * 2)
    harness.start(function("f", f"yes | head -c {size}"))
    result = harness.runtime.result(harness.runtime.submit("f"))
    assert bytes(result.body) == b"y\n" * (size // 2)


def test_any_2xx_is_success(harness: WorkerHarness) -> None:
    harness.start(ECHO)
    for status in (200, 201, 202, 204):
        harness.runtime.always(Endpoint.RESULT, responses.answer(status, b"" if status == 204 else b"taken"))
        jobs = [harness.runtime.submit("f", b"[%d]" % n) for n in range(3)]
        for job in jobs:
            harness.runtime.result(job)
        assert [len(harness.runtime.posts(job)) for job in jobs] == [1, 1, 1]


def test_rejected_result(harness: WorkerHarness) -> None:
    """A small error replaces a result that is rejected permanently."""
    harness.start(function("f", "head -c 100000 /dev/zero"))
    for status in (400, 413, 415, 422):
        harness.runtime.script(Endpoint.RESULT, responses.answer(status, b"no"))
        job = harness.runtime.submit("f")
        error = error_of(harness.runtime.result(job), function="f")
        assert error["reason"] == "result_rejected"
        first, second = harness.runtime.posts(job)
        assert first.size == 100_000
        assert second.size < 1000


def test_early_413(harness: WorkerHarness) -> None:
    """A 413 before the whole result was read is a rejection."""
    harness.runtime.script(Endpoint.RESULT, responses.answer_early(413))
    harness.start(function("f", "head -c 30000000 /dev/zero"))
    job = harness.runtime.submit("f")
    assert error_of(harness.runtime.result(job))["reason"] == "result_rejected"


def test_rejected_error(harness: WorkerHarness) -> None:
    """A rejected error is not posted again."""
    harness.start(ECHO)
    harness.runtime.script(Endpoint.RESULT, responses.answer(413), responses.answer(413))
    job = harness.runtime.submit("f", b"1")
    assert harness.runtime.call("f", b"2") == b"2"
    assert [p.status for p in harness.runtime.posts(job)] == [413, 413]


def test_404_for_a_result(harness: WorkerHarness) -> None:
    """A 404 drops the result, and the worker continues."""
    harness.start(ECHO)
    harness.runtime.script(Endpoint.RESULT, responses.answer(404))
    job = harness.runtime.submit("f", b"1")
    assert harness.runtime.call("f", b"2") == b"2"
    assert [p.status for p in harness.runtime.posts(job)] == [404]


def test_rotated_token_for_a_poll(harness: WorkerHarness) -> None:
    """A rotated token is read again for the next poll."""
    harness.runtime.poll_seconds = 0.2
    harness.start(ECHO)
    harness.runtime.rotate_token("the-next-token")
    polls = harness.runtime.request_log
    polls.wait_for(lambda: any(r.status == 401 for r in polls.all(Endpoint.JOB)), what="a refused poll")
    harness.replica.write_token("the-next-token")
    assert harness.runtime.call("f", b"1") == b"1"
    assert harness.runtime.request_log.all()[-1].head.header("module-auth-token") == "the-next-token"


def test_rotated_token_for_a_result(harness: WorkerHarness) -> None:
    """A rotated token is read again for a result, even if polls still succeed with the old one."""
    harness.start(ECHO)
    harness.runtime.always(Endpoint.RESULT, responses.demand_token("the-next-token"))
    harness.runtime.tokens.add("the-next-token")
    harness.replica.write_token("the-next-token")
    job = harness.runtime.submit("f", b"1")
    assert bytes(harness.runtime.result(job).body) == b"1"


def test_late_token(harness: WorkerHarness) -> None:
    """A token that is rotated late on disk loses no result."""
    harness.start(BLOCKED)
    job = harness.runtime.submit("f")
    harness.runtime.wait_until_handed_out(job)
    harness.runtime.rotate_token("the-next-token")
    harness.folder.joinpath("go").touch()
    refused = harness.runtime.request_log.wait_for(
        lambda: [p for p in harness.runtime.posts(job) if p.status == 401][1:], what="two refused posts"
    )
    assert refused
    harness.replica.write_token("the-next-token")
    assert bytes(harness.runtime.result(job).body) == b"done"


@pytest.mark.parametrize("fault", ["401", "404", "429", "500", "reset", "garbage", "not JSON", "empty 200"])
def test_pace_of_failing_polls(harness: WorkerHarness, fault: str) -> None:
    """Polls to a failing runtime cause no busy loop."""
    harness.runtime.always(Endpoint.JOB, POLL_FAULTS[fault])
    worker = harness.launch(ECHO)
    polls = harness.runtime.request_log
    first = polls.wait_for(lambda: next(iter(polls.all(Endpoint.JOB)), None), what="a poll")
    polls.wait_for(lambda: any(r.at > first.at + 2.5 for r in polls.all(Endpoint.JOB)), what="later polls")
    assert per_second(polls.all(Endpoint.JOB)) < 8
    assert worker.is_running()


def test_runtime_that_is_down(harness: WorkerHarness) -> None:
    """A runtime that refuses connections costs no CPU time and loses no result."""
    worker = harness.start(BLOCKED + function("echo", ["cat"]), "--concurrency", "2")
    job = harness.runtime.submit("f")
    harness.runtime.wait_until_handed_out(job)
    harness.runtime.go_down()
    before = cpu_seconds(worker.pid)
    harness.folder.joinpath("go").touch()
    later = harness.runtime.submit("echo", b"1")
    with pytest.raises(AssertionError):
        harness.runtime.result(job, seconds=4)
    assert cpu_seconds(worker.pid) - before < 1
    harness.runtime.come_back()
    assert bytes(harness.runtime.result(job).body) == b"done"
    assert bytes(harness.runtime.result(later).body) == b"1"


@pytest.mark.parametrize("polls", [1, 6])
def test_redelivery_of_a_truncated_job(harness: WorkerHarness, polls: int) -> None:
    """A truncated job that is sent again, at once or after some seconds of polls, is answered once."""
    harness.runtime.poll_seconds = 0.5
    harness.runtime.script(Endpoint.JOB, responses.lose_job)
    harness.start(ECHO)
    job = harness.runtime.submit("f", b"[1]")
    harness.runtime.wait_for_poll(after=polls)
    harness.runtime.submit("f", b"[1]", job_id=job)
    assert bytes(harness.runtime.result(job).body) == b"[1]"
    assert harness.runtime.call("f", b"[2]") == b"[2]"
    assert len(harness.runtime.posts(job)) == 1


def test_truncated_job(harness: WorkerHarness) -> None:
    """A truncated job that is not sent again is answered with an error."""
    harness.runtime.poll_seconds = 0.5
    harness.runtime.script(Endpoint.JOB, responses.lose_job)
    harness.start(ECHO)
    job = harness.runtime.submit("f", b'"%s"' % (b"x" * 1000))
    assert error_of(harness.runtime.result(job, seconds=60))["reason"] == "malformed_job"


def test_redelivery(harness: WorkerHarness) -> None:
    """A job that is delivered twice is answered once."""
    harness.start(BLOCKED)
    job = harness.runtime.submit("f")
    harness.runtime.submit("f", job_id=job)
    harness.runtime.request_log.wait_for(lambda: len(harness.runtime.jobs.handed_out) == 2, what="handing it out twice")
    harness.runtime.request_log.wait_for(lambda: harness.runtime.request_log.open_polls() == 1, what="the next poll")
    harness.folder.joinpath("go").touch()
    assert bytes(harness.runtime.result(job).body) == b"done"
    assert harness.runtime.call("f") == b"done"
    assert len(harness.runtime.posts(job)) == 1


def test_slow_reader(harness: WorkerHarness) -> None:
    """A result that the runtime reads slowly is posted once."""
    harness.runtime.script(Endpoint.RESULT, responses.read_slowly(2_000_000, 0.4))
    harness.start(function("f", "head -c 20000000 /dev/zero"))
    job = harness.runtime.submit("f")
    assert harness.runtime.result(job).size == 20_000_000
    assert len(harness.runtime.posts(job)) == 1


def test_a_job_that_comes_slowly_is_answered(harness: WorkerHarness) -> None:
    harness.runtime.script(Endpoint.JOB, responses.drip(0.01))
    harness.start(ECHO)
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_closed_connections(harness: WorkerHarness) -> None:
    """A runtime that closes every connection loses nothing."""
    for endpoint, announced in itertools.product((Endpoint.JOB, Endpoint.RESULT), (True, False)):
        harness.runtime.always(endpoint, responses.then_close(responses.normal, announced=announced))
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(ECHO)
    assert [harness.runtime.call("f", b"%d" % n) for n in range(10)] == [b"%d" % n for n in range(10)]
    assert len(harness.runtime.request_log.all(Endpoint.RESULT)) == 10
    worker.stop()
    assert "WARNING" not in worker.log, "that a connection was closed between requests is no failure"


def test_connections_are_kept_and_used_again(harness: WorkerHarness) -> None:
    harness.runtime.poll_seconds = 0.2
    harness.start(ECHO, "--concurrency", "2")
    for n in range(30):
        harness.runtime.call("f", b"%d" % n)
    assert harness.runtime.request_log.connections <= 4


MALFORMED = {  # with JOB for the job's id
    "only an id": b'{"computeModuleJobV1":{"jobId":"JOB"}}',
    "only an id, bare": b'{"jobId":"JOB"}',
    "a number as queryType": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":7,"query":1}}',
    "null as queryType": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":null,"query":1}}',
    "no query": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":"f"}}',
    "cut off": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":"f","query":{"a":',
    "broken query": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":"f","query":{"a":nope}}}',
    "a list in the envelope's place": b'[{"jobId":"JOB"}]',
}


def test_malformed_jobs(harness: WorkerHarness) -> None:
    """A malformed job with an id is answered."""
    harness.start(ECHO)
    for name, body in MALFORMED.items():
        harness.runtime.submit_raw(name, body.replace(b"JOB", name.encode()))
        assert error_of(harness.runtime.result(name))["reason"] == "malformed_job"
        assert harness.runtime.call("f", b"1") == b"1"
        assert len(harness.runtime.posts(name)) == 1


def test_an_unknown_function_is_answered(harness: WorkerHarness) -> None:
    harness.start(ECHO)
    assert error_of(harness.runtime.result(harness.runtime.submit("g")), function="g")["reason"] == "unknown_function"


def test_a_job_without_an_id_is_passed_over(harness: WorkerHarness) -> None:
    harness.start(ECHO)
    harness.runtime.submit_raw("-", b'{"computeModuleJobV1":{"queryType":"f","query":1}}')
    assert harness.runtime.call("f", b"1") == b"1"
    assert len(harness.runtime.request_log.all(Endpoint.RESULT)) == 1


def test_single_open_poll(harness: WorkerHarness) -> None:
    """Exactly one poll is open at all times, even while the slots are busy."""
    harness.runtime.poll_seconds = 0.3
    harness.start(BLOCKED)
    job = harness.runtime.submit("f")
    harness.runtime.wait_until_handed_out(job)
    harness.runtime.wait_for_poll(after=len(harness.runtime.request_log.all(Endpoint.JOB)) + 3)
    assert harness.runtime.posts(job) == []
    harness.folder.joinpath("go").touch()
    harness.runtime.result(job)
    polls = harness.runtime.request_log.all(Endpoint.JOB)
    pauses = [b.at - a.answered_at for a, b in itertools.pairwise(polls) if a.answered_at is not None]
    assert min(pauses) >= 0, "two polls were open at once"


@pytest.mark.long
def test_hanging_requests(harness: WorkerHarness) -> None:
    """Polls and results that hang are aborted after 30 seconds."""
    harness.runtime.script(Endpoint.RESULT, responses.hang, responses.stop_reading(1000))
    harness.start(ECHO + function("large", "head -c 40000000 /dev/zero"), "--concurrency", "2")
    job = harness.runtime.submit("f", b"1")
    harness.runtime.request_log.wait_for(lambda: harness.runtime.posts(job), what="the post that hangs")
    large = harness.runtime.submit("large")
    harness.runtime.wait_until_handed_out(large)
    harness.runtime.script(Endpoint.JOB, responses.hang)
    hung = harness.runtime.request_log.wait_for(
        lambda: next((r for r in harness.runtime.request_log.all(Endpoint.JOB) if r.gone_at), None),
        what="giving up the poll",
        seconds=60,
    )
    assert hung.gone_at is not None
    assert 20 < hung.gone_at - hung.at < 45
    assert bytes(harness.runtime.result(job, seconds=90).body) == b"1"
    assert harness.runtime.result(large, seconds=90).size == 40_000_000
    assert harness.runtime.call("f", b"2") == b"2"
