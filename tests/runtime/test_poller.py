"""Polls: what each response brings, and the pace that no failure can turn into a busy loop."""

import asyncio
import time

import pytest

from cm_exec.errors import AuthenticationError
from cm_exec.protocol import salvage_job_id
from cm_exec.runtime.client import Polled, Poller
from cm_exec.runtime.endpoints import RuntimeEndpoints
from cm_exec.runtime.retry import RetryLimits
from cm_exec.runtime.session import RuntimeSession
from tests.support import responses, stalls
from tests.support.replica import Replica
from tests.support.request_log import Endpoint
from tests.support.scripted_runtime import ScriptedRuntime

NOTHING = Polled()


class RecordedWaits:
    """Polls without the pause before the next poll, and keeps its seconds."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self.seconds: list[float] = []

    async def poll(self) -> Polled:
        polled = await self._poller.poll()
        self.note()
        return polled

    def note(self) -> None:
        self.seconds.append(self._poller.pause)
        self._poller.pause = 0.0

    def assert_backs_off(self) -> None:
        """Check that each wait is between half and all of 0.2 s, 0.4 s and so on up to 5 s."""
        whole = 0.2
        for seconds in self.seconds:
            assert whole / 2 <= seconds <= whole, self.seconds
            whole = min(5.0, whole * 2)


@pytest.fixture
def poller(session: RuntimeSession, endpoints: RuntimeEndpoints) -> Poller:
    return Poller(session, endpoints.job, RetryLimits())


@pytest.fixture
def waits(poller: Poller) -> RecordedWaits:
    return RecordedWaits(poller)


async def test_a_job_is_brought_byte_for_byte(runtime: ScriptedRuntime, poller: Poller) -> None:
    runtime.submit_raw("j", b'{"jobId": "j" , "query":1.10}')
    assert (await poller.poll()).body == b'{"jobId": "j" , "query":1.10}'
    assert poller.pause == 0
    assert "query" not in repr(Polled(body=b"the query", partial=b"the query"))


async def test_after_a_held_poll_the_next_comes_at_once(runtime: ScriptedRuntime, waits: RecordedWaits) -> None:
    runtime.poll_seconds = 0.1
    assert [await waits.poll() for _ in range(3)] == [NOTHING] * 3
    assert waits.seconds == [0.0] * 3
    assert runtime.request_log.connections == 1


async def test_runtime_without_long_polls(runtime: ScriptedRuntime, waits: RecordedWaits, poller: Poller) -> None:
    """A runtime that does not hold polls is polled less often."""
    runtime.poll_seconds = 0
    for _ in range(300):  # a machine that is busy for 20 ms hides that the response came at once
        assert await waits.poll() == NOTHING
        assert waits.seconds[-1] <= 0.4
        if waits.seconds[-1] > 0.2:
            break
    assert waits.seconds[-1] > 0.2
    poller.accept()
    await waits.poll()
    assert waits.seconds[-1] <= 0.02


@pytest.mark.parametrize("status", [301, 400, 404, 409, 410, 413, 418, 429, 500, 503])
async def test_failures(runtime: ScriptedRuntime, waits: RecordedWaits, poller: Poller, status: int) -> None:
    """No failure ends the polling or causes a busy loop."""
    runtime.always(Endpoint.JOB, responses.answer(status, b"oops"))
    assert [await waits.poll() for _ in range(8)] == [NOTHING] * 8
    waits.assert_backs_off()
    assert not poller.is_well


@pytest.mark.parametrize("behaviour", [responses.garbage, responses.reset_before_response])
async def test_broken_connections(
    runtime: ScriptedRuntime, waits: RecordedWaits, behaviour: responses.Behaviour
) -> None:
    """No broken connection ends the polling or causes a busy loop."""
    runtime.always(Endpoint.JOB, behaviour)
    assert [await waits.poll() for _ in range(4)] == [NOTHING] * 4
    runtime.go_down()
    assert [await waits.poll() for _ in range(4)] == [NOTHING] * 4
    waits.assert_backs_off()


@pytest.mark.parametrize("status", [200, 202])
async def test_empty_body(runtime: ScriptedRuntime, waits: RecordedWaits, status: int) -> None:
    """A success with an empty body is a failure."""
    runtime.always(Endpoint.JOB, responses.answer(status))
    assert [await waits.poll() for _ in range(4)] == [NOTHING] * 4
    waits.assert_backs_off()


async def test_response_without_a_job(runtime: ScriptedRuntime, waits: RecordedWaits, poller: Poller) -> None:
    """A response that is not a job is a failure."""
    runtime.always(Endpoint.JOB, responses.answer(200, b"<html>"))
    for _ in range(6):
        assert (await poller.poll()).body == b"<html>"
        poller.reject("not a job")
        waits.note()
    waits.assert_backs_off()


async def test_repeated_deliveries(runtime: ScriptedRuntime, waits: RecordedWaits, poller: Poller) -> None:
    """A job that is delivered repeatedly makes polls less frequent."""
    runtime.always(Endpoint.JOB, responses.answer(200, b"{}"))
    for _ in range(6):
        await poller.poll()
        poller.repeated()
        waits.note()
    waits.assert_backs_off()
    assert poller.is_well
    await poller.poll()
    poller.accept()
    assert poller.pause == 0


async def test_failures_after_a_success(runtime: ScriptedRuntime, waits: RecordedWaits) -> None:
    """The pauses start small again after a success."""
    runtime.poll_seconds = 0.1
    runtime.script(Endpoint.JOB, *[responses.answer(500)] * 4, responses.normal, responses.answer(500))
    for _ in range(6):
        await waits.poll()
    assert waits.seconds[3] >= 0.8
    assert waits.seconds[4] == 0
    assert waits.seconds[5] <= 0.2


async def test_pause(runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints) -> None:
    """The next poll waits for the pause."""
    poller = Poller(session, endpoints.job, RetryLimits(first_delay=0.4))
    runtime.script(Endpoint.JOB, responses.answer(500))
    runtime.poll_seconds = 0
    await poller.poll()
    await poller.poll()
    first, second = runtime.request_log.all()
    assert second.at - first.at >= 0.2


async def test_a_failure_and_its_end_are_logged_once(
    runtime: ScriptedRuntime, waits: RecordedWaits, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.poll_seconds = 0.1
    runtime.script(Endpoint.JOB, *[responses.answer(503)] * 5)
    for _ in range(7):
        await waits.poll()
    first, last = (r.getMessage() for r in caplog.records if r.name.startswith("cm_exec"))
    assert first == "polling for jobs fails: the runtime answers 503; trying again"
    assert last.startswith("polling for jobs works again after ")


async def test_truncated_job(runtime: ScriptedRuntime, poller: Poller) -> None:
    """The beginning of a truncated job is returned."""
    body = b'{"computeModuleJobV1":{"jobId":"j-7","queryType":"f","query":"%s"}}' % (b"q" * 1000)
    runtime.script(Endpoint.JOB, responses.reset_within_response(body, sent=500))
    polled = await poller.poll()
    assert polled == Polled(partial=body[:500])
    assert salvage_job_id(polled.partial) == "j-7"
    assert poller.pause > 0


async def test_rotated_token(runtime: ScriptedRuntime, waits: RecordedWaits, replica: Replica) -> None:
    """A rotated token is read before the next poll."""
    runtime.rotate_token("next")
    replica.write_token("next")
    runtime.submit_raw("j", b"{}")
    assert await waits.poll() == NOTHING
    assert (await waits.poll()).body == b"{}"
    assert waits.seconds[0] > 0


@pytest.mark.parametrize("behaviour", [stalls.repeat_for_ever(b"{", every=0.05, first=b"HTTP/1.1 200 OK\r\n\r\n")])
async def test_total_deadline(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints, behaviour: responses.Behaviour
) -> None:
    """A poll has a total deadline, which single bytes do not prolong, and keeps what it received."""
    runtime.script(Endpoint.JOB, behaviour)
    polled = await Poller(session, endpoints.job, RetryLimits(poll=1.0)).poll()
    assert polled.partial
    assert set(polled.partial) == {ord("{")}


async def test_interim_responses_do_not_prolong_a_poll(
    runtime: ScriptedRuntime,
    session: RuntimeSession,
    endpoints: RuntimeEndpoints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime.script(Endpoint.JOB, stalls.repeat_for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.05))
    poller = Poller(session, endpoints.job, RetryLimits(poll=0.5))
    assert await poller.poll() == NOTHING
    assert "no complete response within 0.5 s" in caplog.text
    assert not poller.is_well


@pytest.mark.parametrize("status", [401, 403])
async def test_rejected_token(
    runtime: ScriptedRuntime,
    session: RuntimeSession,
    endpoints: RuntimeEndpoints,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A runtime that rejects the token for too long ends the worker."""
    waits = RecordedWaits(Poller(session, endpoints.job, RetryLimits(auth_failure=0.4)))
    runtime.always(Endpoint.JOB, responses.answer(status))
    started = time.monotonic()

    async def poll_for_ever() -> None:
        while True:
            assert await waits.poll() == NOTHING
            await asyncio.sleep(0.02)

    with pytest.raises(AuthenticationError, match=rf"{status} to every poll for 0\.4 s"):
        await poll_for_ever()
    assert time.monotonic() - started > 0.4
    waits.seconds.clear()
    assert "does not accept the token" in caplog.text
    assert runtime.token not in caplog.text


@pytest.mark.parametrize("between", [responses.answer(500), responses.garbage, responses.normal])
async def test_interrupted_rejections(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints, between: responses.Behaviour
) -> None:
    """Only uninterrupted rejections end the worker."""
    waits = RecordedWaits(Poller(session, endpoints.job, RetryLimits(auth_failure=0.1)))
    runtime.poll_seconds = 0
    refused = responses.answer(401)
    runtime.script(Endpoint.JOB, refused, between, refused, between, refused)
    for _ in range(5):
        assert await waits.poll() == NOTHING
        await asyncio.sleep(0.11)
