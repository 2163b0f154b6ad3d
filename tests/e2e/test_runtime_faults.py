import itertools

import pytest

from tests.support import behaviours
from tests.support.answers import error_of
from tests.support.behaviours import Behaviour
from tests.support.bench import Bench
from tests.support.ledger import Endpoint, Request
from tests.support.processes import cpu_seconds
from tests.support.toml import function

ECHO = function("f", ["cat"])
BLOCKED = function("f", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")

POLL_FAULTS: dict[str, Behaviour] = {
    "400": behaviours.answer(400),
    "401": behaviours.answer(401),
    "403": behaviours.answer(403, b"forbidden"),
    "404": behaviours.answer(404, b"<html>not found</html>"),
    "429": behaviours.answer(429),
    "500": behaviours.answer(500, b"oops"),
    "503": behaviours.answer(503, b"", [("Retry-After", "1")]),
    "302": behaviours.answer(302, b"", [("Location", "https://localhost:1/elsewhere")]),
    "reset": behaviours.reset_before_response,
    "reset within the answer": behaviours.reset_within_response(b'{"computeModuleJobV1":{', sent=9),
    "garbage": behaviours.garbage,
    "not JSON": behaviours.answer(200, b"<html>hello</html>"),
    "empty 200": behaviours.answer(200),
    "no job in it": behaviours.answer(200, b'{"type":"somethingElse","somethingElse":{}}'),
    "closed after 204": behaviours.then_close(behaviours.answer(204), announced=False),
    "closed after 204, announced": behaviours.then_close(behaviours.answer(204), announced=True),
}

RESULT_FAULTS: dict[str, Behaviour] = {
    "401": behaviours.answer(401),
    "408": behaviours.answer(408),
    "429": behaviours.answer(429, b"slow down", [("Retry-After", "1")]),
    "500": behaviours.answer(500, b"oops"),
    "502": behaviours.answer(502, b"<html>bad gateway</html>"),
    "503": behaviours.answer(503),
    "reset": behaviours.reset_before_response,
    "reset within the request": behaviours.reset_within_request(3),
    "taken, then reset": behaviours.accept_then_reset,
    "garbage": behaviours.garbage,
    "closed after 500": behaviours.then_close(behaviours.answer(500), announced=False),
}


def per_second(requests: list[Request]) -> int:
    """Return the largest number of requests in a second."""
    times = [r.at for r in requests]
    return max((sum(1 for t in times if start <= t < start + 1) for start in times), default=0)


@pytest.mark.parametrize("fault", POLL_FAULTS)
def test_a_job_after_failed_polls_is_answered(bench: Bench, fault: str) -> None:
    bench.runtime.script(Endpoint.JOB, *[POLL_FAULTS[fault]] * 3)
    bench.start(ECHO)
    assert bench.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize("fault", RESULT_FAULTS)
def test_a_good_result_is_posted_until_it_is_accepted_and_never_replaced(bench: Bench, fault: str) -> None:
    bench.runtime.script(Endpoint.RESULT, *[RESULT_FAULTS[fault]] * 3)
    bench.start(ECHO)
    job = bench.runtime.submit("f", b"[1]")
    bench.runtime.ledger.wait_for(lambda: len(bench.runtime.posts(job)) == 4, what="the fourth post")
    bench.runtime.result(job)
    posts = bench.runtime.posts(job)
    assert {bytes(p.body) for p in posts if p.complete} == {b"[1]"}
    assert per_second(posts) < 8
    assert bench.runtime.call("f", b"[2]") == b"[2]"


def test_a_large_result_survives_a_reset_in_its_middle(bench: Bench) -> None:
    size = 20_000_000
    bench.runtime.script(Endpoint.RESULT, *[behaviours.reset_within_request(size // 2)] * 2)
    bench.start(function("f", f"yes | head -c {size}"))
    result = bench.runtime.result(bench.runtime.submit("f"))
    assert bytes(result.body) == b"y\n" * (size // 2)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_success(bench: Bench, status: int) -> None:
    bench.runtime.always(Endpoint.RESULT, behaviours.answer(status, b"" if status == 204 else b"taken"))
    bench.start(ECHO)
    jobs = [bench.runtime.submit("f", b"[%d]" % n) for n in range(3)]
    for job in jobs:
        bench.runtime.result(job)
    assert [len(bench.runtime.posts(job)) for job in jobs] == [1, 1, 1]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_result_that_is_refused_for_good_becomes_a_small_error_result(bench: Bench, status: int) -> None:
    bench.runtime.script(Endpoint.RESULT, behaviours.answer(status, b"no"))
    bench.start(function("f", "head -c 100000 /dev/zero"))
    job = bench.runtime.submit("f")
    error = error_of(bench.runtime.result(job), function="f")
    assert error["reason"] == "result_rejected"
    first, second = bench.runtime.posts(job)
    assert first.size == 100_000
    assert second.size < 1000


def test_413_sent_before_the_whole_result_was_read_counts_too(bench: Bench) -> None:
    bench.runtime.script(Endpoint.RESULT, behaviours.answer_early(413))
    bench.start(function("f", "head -c 30000000 /dev/zero"))
    job = bench.runtime.submit("f")
    assert error_of(bench.runtime.result(job))["reason"] == "result_rejected"


def test_an_error_result_that_is_refused_too_ends_the_matter(bench: Bench) -> None:
    bench.start(ECHO)
    bench.runtime.script(Endpoint.RESULT, behaviours.answer(413), behaviours.answer(413))
    job = bench.runtime.submit("f", b"1")
    assert bench.runtime.call("f", b"2") == b"2"
    assert [p.status for p in bench.runtime.posts(job)] == [413, 413]


def test_404_for_a_result_drops_it_and_the_worker_goes_on(bench: Bench) -> None:
    bench.start(ECHO)
    bench.runtime.script(Endpoint.RESULT, behaviours.answer(404))
    job = bench.runtime.submit("f", b"1")
    assert bench.runtime.call("f", b"2") == b"2"
    assert [p.status for p in bench.runtime.posts(job)] == [404]


def test_a_rotated_token_is_read_again_for_the_poll(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.2
    bench.start(ECHO)
    bench.runtime.rotate_token("the-next-token")
    polls = bench.runtime.ledger
    polls.wait_for(lambda: any(r.status == 401 for r in polls.all(Endpoint.JOB)), what="a refused poll")
    bench.replica.write_token("the-next-token")
    assert bench.runtime.call("f", b"1") == b"1"
    assert bench.runtime.ledger.all()[-1].head.header("module-auth-token") == "the-next-token"


def test_a_rotated_token_is_read_again_for_a_result(bench: Bench) -> None:
    """Even where the polls are let in with the old one."""
    bench.start(ECHO)
    bench.runtime.always(Endpoint.RESULT, behaviours.demand_token("the-next-token"))
    bench.runtime.tokens.add("the-next-token")
    bench.replica.write_token("the-next-token")
    job = bench.runtime.submit("f", b"1")
    assert bytes(bench.runtime.result(job).body) == b"1"


def test_a_token_that_is_rotated_late_on_disk_loses_nothing(bench: Bench) -> None:
    bench.start(BLOCKED)
    job = bench.runtime.submit("f")
    bench.runtime.wait_until_handed_out(job)
    bench.runtime.rotate_token("the-next-token")
    bench.folder.joinpath("go").touch()
    refused = bench.runtime.ledger.wait_for(
        lambda: [p for p in bench.runtime.posts(job) if p.status == 401][1:], what="two refused posts"
    )
    assert refused
    bench.replica.write_token("the-next-token")
    assert bytes(bench.runtime.result(job).body) == b"done"


@pytest.mark.parametrize("fault", ["401", "404", "429", "500", "reset", "garbage", "not JSON", "empty 200"])
def test_polls_against_a_failing_runtime_do_not_spin(bench: Bench, fault: str) -> None:
    bench.runtime.always(Endpoint.JOB, POLL_FAULTS[fault])
    worker = bench.launch(ECHO)
    polls = bench.runtime.ledger
    first = polls.wait_for(lambda: next(iter(polls.all(Endpoint.JOB)), None), what="a poll")
    polls.wait_for(lambda: any(r.at > first.at + 2.5 for r in polls.all(Endpoint.JOB)), what="later polls")
    assert per_second(polls.all(Endpoint.JOB)) < 8
    assert worker.is_running()


def test_a_runtime_that_refuses_connections_costs_no_cpu_and_loses_nothing(bench: Bench) -> None:
    worker = bench.start(BLOCKED + function("echo", ["cat"]), "--concurrency", "2")
    job = bench.runtime.submit("f")
    bench.runtime.wait_until_handed_out(job)
    bench.runtime.go_down()
    before = cpu_seconds(worker.pid)
    bench.folder.joinpath("go").touch()
    later = bench.runtime.submit("echo", b"1")
    with pytest.raises(AssertionError):
        bench.runtime.result(job, seconds=4)
    assert cpu_seconds(worker.pid) - before < 1
    bench.runtime.come_back()
    assert bytes(bench.runtime.result(job).body) == b"done"
    assert bytes(bench.runtime.result(later).body) == b"1"


@pytest.mark.parametrize("polls", [1, 6])
def test_a_job_that_breaks_off_and_is_sent_again_is_answered_once(bench: Bench, polls: int) -> None:
    """Sent again at once, or after the worker has polled for some seconds without it."""
    bench.runtime.poll_seconds = 0.5
    bench.runtime.script(Endpoint.JOB, behaviours.lose_job)
    bench.start(ECHO)
    job = bench.runtime.submit("f", b"[1]")
    bench.runtime.wait_for_poll(after=polls)
    bench.runtime.submit("f", b"[1]", job_id=job)
    assert bytes(bench.runtime.result(job).body) == b"[1]"
    assert bench.runtime.call("f", b"[2]") == b"[2]"
    assert len(bench.runtime.posts(job)) == 1


def test_a_job_that_breaks_off_and_never_comes_again_is_answered_with_an_error(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.5
    bench.runtime.script(Endpoint.JOB, behaviours.lose_job)
    bench.start(ECHO)
    job = bench.runtime.submit("f", b'"%s"' % (b"x" * 1000))
    assert error_of(bench.runtime.result(job, seconds=60))["reason"] == "malformed_job"


def test_a_job_that_is_handed_out_twice_is_answered_once(bench: Bench) -> None:
    bench.start(BLOCKED)
    job = bench.runtime.submit("f")
    bench.runtime.submit("f", job_id=job)
    bench.runtime.ledger.wait_for(lambda: len(bench.runtime.jobs.handed_out) == 2, what="handing it out twice")
    bench.runtime.ledger.wait_for(lambda: bench.runtime.ledger.open_polls() == 1, what="the next poll")
    bench.folder.joinpath("go").touch()
    assert bytes(bench.runtime.result(job).body) == b"done"
    assert bench.runtime.call("f") == b"done"
    assert len(bench.runtime.posts(job)) == 1


def test_a_result_that_is_read_slowly_is_posted_once(bench: Bench) -> None:
    bench.runtime.script(Endpoint.RESULT, behaviours.read_slowly(2_000_000, 0.4))
    bench.start(function("f", "head -c 20000000 /dev/zero"))
    job = bench.runtime.submit("f")
    assert bench.runtime.result(job).size == 20_000_000
    assert len(bench.runtime.posts(job)) == 1


def test_a_job_that_comes_slowly_is_answered(bench: Bench) -> None:
    bench.runtime.script(Endpoint.JOB, behaviours.drip(0.01))
    bench.start(ECHO)
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_a_runtime_that_closes_every_connection_loses_nothing(bench: Bench) -> None:
    for endpoint, announced in itertools.product((Endpoint.JOB, Endpoint.RESULT), (True, False)):
        bench.runtime.always(endpoint, behaviours.then_close(behaviours.normal, announced=announced))
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(ECHO)
    assert [bench.runtime.call("f", b"%d" % n) for n in range(10)] == [b"%d" % n for n in range(10)]
    assert len(bench.runtime.ledger.all(Endpoint.RESULT)) == 10
    worker.stop()
    assert "WARNING" not in worker.log, "that a connection was closed between requests is no failure"


def test_connections_are_kept_and_used_again(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.2
    bench.start(ECHO, "--concurrency", "2")
    for n in range(30):
        bench.runtime.call("f", b"%d" % n)
    assert bench.runtime.ledger.connections <= 4


MALFORMED = {
    "only an id": b'{"computeModuleJobV1":{"jobId":"j"}}',
    "only an id, bare": b'{"jobId":"j"}',
    "a number as queryType": b'{"computeModuleJobV1":{"jobId":"j","queryType":7,"query":1}}',
    "null as queryType": b'{"computeModuleJobV1":{"jobId":"j","queryType":null,"query":1}}',
    "no query": b'{"computeModuleJobV1":{"jobId":"j","queryType":"f"}}',
    "cut off": b'{"computeModuleJobV1":{"jobId":"j","queryType":"f","query":{"a":',
    "broken query": b'{"computeModuleJobV1":{"jobId":"j","queryType":"f","query":{"a":nope}}}',
    "a list in the envelope's place": b'[{"jobId":"j"}]',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_job_with_an_id_and_nothing_else_right_is_answered(bench: Bench, name: str) -> None:
    bench.start(ECHO)
    bench.runtime.submit_raw("j", MALFORMED[name])
    assert error_of(bench.runtime.result("j"))["reason"] == "malformed_job"
    assert bench.runtime.call("f", b"1") == b"1"
    assert len(bench.runtime.posts("j")) == 1


def test_an_unknown_function_is_answered(bench: Bench) -> None:
    bench.start(ECHO)
    assert error_of(bench.runtime.result(bench.runtime.submit("g")), function="g")["reason"] == "unknown_function"


def test_a_job_without_an_id_is_passed_over(bench: Bench) -> None:
    bench.start(ECHO)
    bench.runtime.submit_raw("-", b'{"computeModuleJobV1":{"queryType":"f","query":1}}')
    assert bench.runtime.call("f", b"1") == b"1"
    assert len(bench.runtime.ledger.all(Endpoint.RESULT)) == 1


def test_one_poll_is_open_at_all_times_also_while_the_slots_are_busy(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.3
    bench.start(BLOCKED)
    job = bench.runtime.submit("f")
    bench.runtime.wait_until_handed_out(job)
    bench.runtime.wait_for_poll(after=len(bench.runtime.ledger.all(Endpoint.JOB)) + 3)
    assert bench.runtime.posts(job) == []
    bench.folder.joinpath("go").touch()
    bench.runtime.result(job)
    polls = bench.runtime.ledger.all(Endpoint.JOB)
    pauses = [b.at - a.answered_at for a, b in itertools.pairwise(polls) if a.answered_at is not None]
    assert min(pauses) >= 0, "two polls were open at once"


def test_polls_and_results_that_hang_are_given_up_after_30_seconds(bench: Bench) -> None:
    bench.runtime.script(Endpoint.RESULT, behaviours.hang, behaviours.stop_reading(1000))
    bench.start(ECHO + function("large", "head -c 40000000 /dev/zero"), "--concurrency", "2")
    job = bench.runtime.submit("f", b"1")
    bench.runtime.ledger.wait_for(lambda: bench.runtime.posts(job), what="the post that hangs")
    large = bench.runtime.submit("large")
    bench.runtime.wait_until_handed_out(large)
    bench.runtime.script(Endpoint.JOB, behaviours.hang)
    hung = bench.runtime.ledger.wait_for(
        lambda: next((r for r in bench.runtime.ledger.all(Endpoint.JOB) if r.gone_at), None),
        what="giving up the poll",
        seconds=60,
    )
    assert hung.gone_at is not None
    assert 20 < hung.gone_at - hung.at < 45
    assert bytes(bench.runtime.result(job, seconds=90).body) == b"1"
    assert bench.runtime.result(large, seconds=90).size == 40_000_000
    assert bench.runtime.call("f", b"2") == b"2"
