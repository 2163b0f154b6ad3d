"""Posting one result until it is decided what becomes of it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from cm_exec.runtime.client import Delivered, Reporter
from cm_exec.runtime.endpoints import RuntimeEndpoints
from cm_exec.runtime.retry import RetryLimits, Verdict
from cm_exec.runtime.session import RuntimeSession
from tests.support import responses, stalls
from tests.support.asyncio_tests import eventually
from tests.support.replica import Replica
from tests.support.request_log import Endpoint
from tests.support.scripted_runtime import API, ScriptedRuntime

QUICK = RetryLimits(first_delay=0.01, longest_delay=0.04)
NewReporter = Callable[..., Reporter]


@pytest.fixture
def new_reporter(session: RuntimeSession, endpoints: RuntimeEndpoints) -> NewReporter:
    def new_reporter(limits: RetryLimits = QUICK, polls_succeed: Callable[[], bool] = lambda: True) -> Reporter:
        return Reporter(session, endpoints.result, limits, polls_succeed)

    return new_reporter


@pytest.fixture
def reporter(new_reporter: NewReporter) -> Reporter:
    return new_reporter()


@pytest.fixture(autouse=True)
def a_job(runtime: ScriptedRuntime) -> None:
    runtime.submit("f", job_id="j")


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_2xx_is_success(runtime: ScriptedRuntime, reporter: Reporter, status: int) -> None:
    runtime.always(Endpoint.RESULT, responses.answer(status, b"" if status == 204 else b"thanks"))
    delivered = await reporter.deliver("j", b"result")
    assert (delivered.is_accepted, delivered.is_rejected) == (True, False)
    (post,) = runtime.posts("j")
    assert (bytes(post.body), post.head.header("content-type")) == (b"result", "application/octet-stream")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_transient_failure(runtime: ScriptedRuntime, reporter: Reporter, status: int) -> None:
    """A result is posted again after transient failures until it is accepted."""
    runtime.script(Endpoint.RESULT, *[responses.answer(status)] * 9)
    assert (await reporter.deliver("j", b"result")).verdict is Verdict.ACCEPTED
    assert [bytes(post.body) for post in runtime.posts("j")] == [b"result"] * 10


async def test_tries_back_off(runtime: ScriptedRuntime, new_reporter: NewReporter) -> None:
    runtime.script(Endpoint.RESULT, *[responses.answer(500)] * 5)
    await new_reporter(RetryLimits(first_delay=0.1, longest_delay=0.3)).deliver("j", b"result")
    gaps = [later.at - (earlier.answered_at or 0) for earlier, later in pairwise(runtime.posts("j"))]
    assert all(gap >= least for gap, least in zip(gaps, [0.05, 0.1, 0.15, 0.15, 0.15], strict=True)), gaps


async def test_broken_runtime(runtime: ScriptedRuntime, reporter: Reporter) -> None:
    """A result is posted again after a broken connection and while the runtime is down."""
    runtime.script(Endpoint.RESULT, responses.reset_before_response, responses.garbage, responses.accept_then_reset)
    delivering = asyncio.create_task(reporter.deliver("j", b"result"))
    await eventually(lambda: runtime.posts("j"), what="the first post")
    runtime.go_down()
    await asyncio.sleep(0.2)
    runtime.come_back()
    assert (await delivering).verdict is Verdict.ACCEPTED
    assert {bytes(post.body) for post in runtime.posts("j") if post.complete} == {b"result"}


@pytest.mark.parametrize("status", [404, 409, 410])
async def test_result_of_an_abandoned_job(
    runtime: ScriptedRuntime, reporter: Reporter, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A result whose caller has gone is dropped."""
    runtime.always(Endpoint.RESULT, responses.answer(status))
    assert await reporter.deliver("j", b"result") == Delivered(Verdict.GONE, f"the runtime answers {status}")
    assert len(runtime.posts("j")) == 1
    assert "job j" in caplog.text
    assert str(status) in caplog.text


@pytest.mark.parametrize("status", [300, 302, 400, 405, 413, 415, 422])
async def test_permanent_rejection(runtime: ScriptedRuntime, reporter: Reporter, status: int) -> None:
    """A result that cannot be accepted is rejected at once."""
    runtime.always(Endpoint.RESULT, responses.answer(status))
    assert await reporter.deliver("j", b"result") == Delivered(Verdict.REFUSED, f"the runtime answers {status}")
    assert len(runtime.posts("j")) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_rotated_token_is_read_again(
    runtime: ScriptedRuntime, reporter: Reporter, replica: Replica, status: int
) -> None:
    runtime.rotate_token("next")
    runtime.script(Endpoint.RESULT, responses.answer(status))
    delivering = asyncio.create_task(reporter.deliver("j", b"result"))
    await eventually(lambda: len(runtime.posts("j")) >= 2, what="a second try")
    replica.write_token("next")
    assert (await delivering).verdict is Verdict.ACCEPTED
    statuses = [post.status for post in runtime.posts("j")]
    assert (statuses[:2], statuses[-1]) == ([status, 401], 204)


FAILURES: dict[str, responses.Behaviour] = {
    "500": responses.answer(500),
    "403": responses.answer(403),
    "reset": responses.reset_before_response,
    "proxy": responses.reset_within_request(1),
    "hang": responses.hang,
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_repeated_failure(
    runtime: ScriptedRuntime, new_reporter: NewReporter, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that fails repeatedly while polls succeed is rejected, so that it does not keep its slot."""
    runtime.always(Endpoint.RESULT, FAILURES[failure])
    limits = RetryLimits(first_delay=0.02, longest_delay=0.05, rejected_result=0.4, post=0.1)
    started = time.monotonic()
    delivered = await new_reporter(limits).deliver("j", b"result")
    assert time.monotonic() - started > 0.4
    assert delivered.verdict is Verdict.REFUSED
    assert delivered.why.endswith(", for 0.4 s")
    assert len(runtime.posts("j")) > 1
    assert [r.levelno for r in caplog.records if "rejected" in r.getMessage()] == [logging.ERROR]


async def test_while_polls_fail_too_a_result_waits(runtime: ScriptedRuntime, new_reporter: NewReporter) -> None:
    runtime.always(Endpoint.RESULT, responses.answer(500))
    is_well = False
    reporter = new_reporter(RetryLimits(first_delay=0.02, longest_delay=0.05, rejected_result=0.3), lambda: is_well)
    delivering = asyncio.create_task(reporter.deliver("j", b"result"))
    await asyncio.sleep(1.0)
    assert not delivering.done()
    is_well = True
    since = time.monotonic()
    assert (await delivering).verdict is Verdict.REFUSED
    assert time.monotonic() - since > 0.2, "the time counts from the recovery"


async def test_growing_deadline(runtime: ScriptedRuntime, new_reporter: NewReporter) -> None:
    """The deadline of a post doubles after a timeout, so that a slow runtime is reached in the end."""
    runtime.script(Endpoint.RESULT, responses.hang, responses.hang, responses.answer(500), responses.hang)
    reporter = new_reporter(RetryLimits(first_delay=0.01, longest_delay=0.01, post=0.2))
    assert (await reporter.deliver("j", b"result")).verdict is Verdict.ACCEPTED
    await eventually(lambda: sum(bool(post.gone_at) for post in runtime.posts("j")) == 3, what="three ends")
    waited = [(post.gone_at or 0) - post.at for post in runtime.posts("j") if post.gone_at]
    assert [wait > least for wait, least in zip(waited, [0.15, 0.35, 0.75], strict=True)] == [True] * 3, waited


async def test_interim_responses_do_not_prolong_a_post(runtime: ScriptedRuntime, new_reporter: NewReporter) -> None:
    runtime.script(Endpoint.RESULT, stalls.repeat_for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.05))
    assert (await new_reporter(RetryLimits(first_delay=0.01, post=0.3)).deliver("j", b"x")).is_accepted
    assert len(runtime.posts("j")) == 2


@pytest.mark.parametrize("job_id", ["a/b", "../x", "a b?c#d%", "é😀", "", "a\r\nX: y"])
async def test_any_job_id_is_one_segment_of_the_path(runtime: ScriptedRuntime, reporter: Reporter, job_id: str) -> None:
    runtime.always(Endpoint.RESULT, responses.answer(204))
    await reporter.deliver(job_id, b"")
    (post,) = runtime.request_log.all(Endpoint.RESULT)
    assert post.job_id == job_id
    assert post.head.target.count("/") == f"{API}/results/".count("/")


async def test_neither_result_nor_token_is_logged(
    runtime: ScriptedRuntime, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.script(Endpoint.RESULT, *(responses.answer(status) for status in (500, 401)), responses.garbage)
    await reporter.deliver("j", b"s3cret result")
    assert "the result of job j" in caplog.text
    assert "s3cret" not in caplog.text
    assert runtime.token not in caplog.text


async def chunks(*parts: bytes, failure: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if failure is not None:
        raise failure


async def test_a_result_may_be_posted_as_it_is_produced(runtime: ScriptedRuntime, reporter: Reporter) -> None:
    delivered = await reporter.stream("j", chunks(b"a", b"b"))
    assert delivered == Delivered(Verdict.ACCEPTED, "the runtime answers 204")
    assert bytes(runtime.posts("j")[0].body) == b"ab"


@pytest.mark.parametrize(("status", "verdict"), [(404, Verdict.GONE), (413, Verdict.REFUSED)])
async def test_early_response_to_a_stream(
    runtime: ScriptedRuntime, reporter: Reporter, status: int, verdict: Verdict
) -> None:
    """The response to a stream may arrive while the stream is produced."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(0.02)

    runtime.script(Endpoint.RESULT, responses.answer_early(status))
    assert await reporter.stream("j", endless()) == Delivered(verdict, f"the runtime answers {status}")


@pytest.mark.parametrize("behaviour", [responses.answer(503), responses.reset_before_response, responses.garbage])
async def test_failed_stream(runtime: ScriptedRuntime, reporter: Reporter, behaviour: responses.Behaviour) -> None:
    """A stream that failed is left for a second post."""
    runtime.script(Endpoint.RESULT, behaviour)
    assert await reporter.stream("j", chunks(b"a")) is None
    assert len(runtime.posts("j")) == 1


async def test_rotated_token_during_a_stream(runtime: ScriptedRuntime, reporter: Reporter, replica: Replica) -> None:
    """A rotated token is read again after a stream."""
    runtime.rotate_token("next")
    replica.write_token("next")
    assert await reporter.stream("j", chunks(b"a")) is None
    assert (await reporter.deliver("j", b"a")).verdict is Verdict.ACCEPTED
    assert [post.status for post in runtime.posts("j")] == [401, 204]


async def test_exception_of_the_producer(runtime: ScriptedRuntime, reporter: Reporter) -> None:
    """An exception of the producer is passed on."""
    with pytest.raises(LookupError):
        await reporter.stream("j", chunks(b"half", failure=LookupError()))
    assert not any(post.accepted for post in runtime.posts("j"))
