"""Retries end, and deadlines grow, with short times handed in."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cm_exec.runtime.endpoints import read_endpoints
from cm_exec.runtime.poller import Poller
from cm_exec.runtime.reporter import Delivered, Delivery, Reporter
from cm_exec.runtime.retry import RetryLimits
from cm_exec.runtime.session import RuntimeSession
from tests.support import behaviours, stalls
from tests.support.certificates import Authority
from tests.support.ledger import Endpoint
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

SHORT = RetryLimits(first_delay=0.02, longest_delay=0.1, rejected_result=1.0, post=0.5, poll=0.5)

Deliver = Callable[..., Delivered]


@pytest.fixture
def session_of(
    tmp_path: Path, runtime: ScriptedRuntime, authority: Authority
) -> Callable[[RetryLimits], RuntimeSession]:
    """Provide a function that creates a session with the runtime; call it on the loop."""
    replica = Replica(folder=tmp_path, runtime=runtime, ca_pem=authority.pem)
    replica.write()
    environ = replica.modern()
    return lambda limits: RuntimeSession(environ, read_endpoints(environ), None, limits)


@pytest.fixture
def deliver(tmp_path: Path, runtime: ScriptedRuntime, session_of: Callable[[RetryLimits], RuntimeSession]) -> Deliver:
    """Provide a function that posts a result for the job "j" and returns what became of it."""
    runtime.submit("f", job_id="j")
    endpoints = read_endpoints(Replica(folder=tmp_path, runtime=runtime, ca_pem=b"").modern())

    def deliver(
        body: bytes, *, limits: RetryLimits = SHORT, polls_succeed: Callable[[], bool] = lambda: True
    ) -> Delivered:
        async def work() -> Delivered:
            session = session_of(limits)
            try:
                return await Reporter(session, endpoints.result, limits, polls_succeed).deliver("j", body)
            finally:
                session.close()

        return asyncio.run(work())

    return deliver


NEVER = {
    "500": behaviours.answer(500),
    "401": behaviours.answer(401),
    "a proxy that resets large bodies": stalls.reset_large_bodies(1),
}


@pytest.mark.parametrize("fault", NEVER)
def test_result_that_is_never_accepted(runtime: ScriptedRuntime, deliver: Deliver, fault: str) -> None:
    """A result that fails again and again while polls succeed is given up as rejected, after its limit."""
    runtime.always(Endpoint.RESULT, NEVER[fault])
    since = time.monotonic()
    assert deliver(b"12").delivery is Delivery.REJECTED
    assert time.monotonic() - since >= SHORT.rejected_result
    assert len(runtime.posts("j")) > 3


def test_result_while_polls_fail(runtime: ScriptedRuntime, deliver: Deliver) -> None:
    """A result waits for a runtime that is not well as a whole, for longer than the limit."""
    runtime.always(Endpoint.RESULT, behaviours.answer(503))
    since = time.monotonic()

    def polls_succeed() -> bool:
        if time.monotonic() - since > 3 * SHORT.rejected_result:
            runtime.always(Endpoint.RESULT, behaviours.normal)
        return False

    assert deliver(b"12", polls_succeed=polls_succeed).delivery is Delivery.ACCEPTED


def test_growing_deadline(runtime: ScriptedRuntime, deliver: Deliver) -> None:
    """Each try that times out gets twice the time: a slow runtime accepts the result in the end."""
    runtime.always(Endpoint.RESULT, stalls.answer_after(1.5))
    limits = RetryLimits(first_delay=0.02, longest_delay=0.1, post=0.5, rejected_result=60)
    assert deliver(b"12", limits=limits).delivery is Delivery.ACCEPTED
    assert len(runtime.posts("j")) == 3


STALLS = {
    "drip": stalls.repeat_for_ever(b"{", every=0.1, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    "102": stalls.repeat_for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.1),
}


@pytest.mark.parametrize("stall", STALLS)
def test_deadline_of_a_poll(
    runtime: ScriptedRuntime, tmp_path: Path, session_of: Callable[[RetryLimits], RuntimeSession], stall: str
) -> None:
    """A poll ends at its deadline, although bytes or interim responses keep coming."""
    runtime.always(Endpoint.JOB, STALLS[stall])
    endpoints = read_endpoints(Replica(folder=tmp_path, runtime=runtime, ca_pem=b"").modern())

    async def work() -> float:
        session = session_of(SHORT)
        since = time.monotonic()
        try:
            polled = await Poller(session, endpoints.job, SHORT).poll()
            assert polled.body is None
        finally:
            session.close()
        return time.monotonic() - since

    assert asyncio.run(work()) >= SHORT.poll


@pytest.mark.parametrize("stall", STALLS)
def test_deadline_of_a_result(runtime: ScriptedRuntime, deliver: Deliver, stall: str) -> None:
    """A post ends at its deadline too, and the result is posted again."""
    runtime.script(Endpoint.RESULT, STALLS[stall])
    limits = RetryLimits(first_delay=0.02, longest_delay=0.1, post=0.5, rejected_result=60)
    assert deliver(b"12", limits=limits).delivery is Delivery.ACCEPTED
    assert len(runtime.posts("j")) == 2
