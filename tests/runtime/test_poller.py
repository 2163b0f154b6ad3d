"""Asking for jobs: what each answer brings, and the pace that no trouble can turn into a spin."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from cm_exec.runtime.link import Link
from cm_exec.runtime.location import Location
from tests.support.pauses import Pauses

from cm_exec.protocol.job import salvage_job_id
from cm_exec.runtime import poller as poller_module
from cm_exec.runtime.errors import RuntimeRefusedError
from cm_exec.runtime.poller import REFUSED_FOR_GOOD, Polled, Poller
from tests.support import behaviours
from tests.support.ledger import Endpoint
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

NOTHING = Polled()


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def poller(link: Link, location: Location, pauses: Pauses) -> Poller:
    return Poller(link, location.job, pauses)


def test_a_job_is_brought_byte_for_byte(runtime: ScriptedRuntime, poller: Poller, pauses: Pauses) -> None:
    runtime.submit_raw("j", b'{"jobId": "j" , "query":1.10}')
    assert poller.poll() == Polled(body=b'{"jobId": "j" , "query":1.10}')
    assert pauses.seconds == []
    assert "query" not in repr(Polled(body=b"the query", torn=b"the query"))


def test_after_a_held_poll_the_next_comes_at_once(runtime: ScriptedRuntime, poller: Poller, pauses: Pauses) -> None:
    runtime.poll_seconds = 0.1
    assert [poller.poll() for _ in range(3)] == [NOTHING] * 3
    assert pauses.seconds == []
    assert runtime.ledger.connections == 1


def test_a_runtime_that_does_not_hold_polls_is_asked_less_often(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "time", SimpleNamespace(monotonic=lambda: 7.0))  # no time goes by
    runtime.poll_seconds = 0
    for _ in range(10):
        assert poller.poll() == NOTHING
    assert len(pauses.seconds) == 10
    assert all(0.01 <= seconds <= 0.4 for seconds in pauses.seconds)
    assert sum(pauses.seconds[-4:]) > 4 / 8
    poller.useful()
    poller.poll()
    assert pauses.seconds[-1] <= 0.02


@pytest.mark.parametrize("status", [301, 400, 404, 409, 410, 413, 418, 429, 500, 503])
def test_no_failure_ends_the_polling_or_makes_it_spin(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses, status: int
) -> None:
    runtime.always(Endpoint.JOB, behaviours.answer(status, b"oops"))
    assert [poller.poll() for _ in range(8)] == [NOTHING] * 8
    assert len(pauses.seconds) == 8
    pauses.assert_backs_off()


@pytest.mark.parametrize("behaviour", [behaviours.garbage, behaviours.reset_before_response])
def test_no_breakdown_ends_the_polling_or_makes_it_spin(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses, behaviour: behaviours.Behaviour
) -> None:
    runtime.always(Endpoint.JOB, behaviour)
    assert [poller.poll() for _ in range(4)] == [NOTHING] * 4
    pauses.assert_backs_off()
    runtime.go_down()
    assert [poller.poll() for _ in range(4)] == [NOTHING] * 4
    assert len(pauses.seconds) == 8
    pauses.assert_backs_off()


@pytest.mark.parametrize("status", [200, 202])
def test_a_success_with_nothing_in_it_is_no_success(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses, status: int
) -> None:
    runtime.always(Endpoint.JOB, behaviours.answer(status))
    assert [poller.poll() for _ in range(4)] == [NOTHING] * 4
    assert len(pauses.seconds) == 4
    pauses.assert_backs_off()


def test_what_is_no_job_is_a_failure_too(runtime: ScriptedRuntime, poller: Poller, pauses: Pauses) -> None:
    runtime.always(Endpoint.JOB, behaviours.answer(200, b"<html>"))
    for _ in range(6):
        assert poller.poll().body == b"<html>"
        poller.unusable("not a job")
    assert len(pauses.seconds) == 6
    pauses.assert_backs_off()


def test_after_a_success_failures_start_small_again(runtime: ScriptedRuntime, poller: Poller, pauses: Pauses) -> None:
    runtime.poll_seconds = 0.1
    runtime.script(Endpoint.JOB, *[behaviours.answer(500)] * 4, behaviours.normal, behaviours.answer(500))
    for _ in range(6):
        poller.poll()
    assert pauses.seconds[3] >= 0.8
    assert pauses.seconds[4] <= 0.2


def test_trouble_and_its_end_are_told_once(
    runtime: ScriptedRuntime, poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.poll_seconds = 0.1
    runtime.script(Endpoint.JOB, *[behaviours.answer(503)] * 5)
    for _ in range(7):
        poller.poll()
    first, last = (record.getMessage() for record in caplog.records)
    assert first == "polling for jobs fails: the runtime answers 503; trying again"
    assert last.startswith("polling for jobs works again after ")


def test_of_a_job_that_breaks_off_its_beginning_is_brought(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses
) -> None:
    body = b'{"computeModuleJobV1":{"jobId":"j-7","queryType":"f","query":"%s"}}' % (b"q" * 1000)
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(body, sent=500))
    polled = poller.poll()
    assert polled == Polled(torn=body[:500])
    assert salvage_job_id(polled.torn) == "j-7"
    assert len(pauses.seconds) == 1


def test_a_rotated_token_is_read_again_before_the_next_poll(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses, replica: Replica
) -> None:
    runtime.rotate_token("next")
    replica.write_token("next")
    runtime.submit_raw("j", b"{}")
    assert poller.poll() == NOTHING
    assert poller.poll() == Polled(body=b"{}")
    assert len(pauses.seconds) == 1


class Clock:
    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.now += seconds

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(poller_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.mark.parametrize("status", [401, 403])
def test_a_runtime_that_lets_nobody_in_for_long_ends_the_worker(
    runtime: ScriptedRuntime, poller: Poller, clock: Clock, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.always(Endpoint.JOB, behaviours.answer(status))
    for _ in range(5):
        assert poller.poll() == NOTHING
        clock.advance(REFUSED_FOR_GOOD / 5)()
    assert poller.poll() == NOTHING
    clock.advance(1)()
    with pytest.raises(RuntimeRefusedError, match=f"{status} to every poll for 600 s"):
        poller.poll()
    assert "does not accept the token" in caplog.text
    assert runtime.token not in caplog.text


@pytest.mark.parametrize("between", [behaviours.answer(500), behaviours.garbage, behaviours.normal])
def test_only_refusals_without_a_break_end_the_worker(
    runtime: ScriptedRuntime, poller: Poller, clock: Clock, between: behaviours.Behaviour
) -> None:
    runtime.poll_seconds = 0
    refused = behaviours.answer(401)
    runtime.script(Endpoint.JOB, refused, between, refused, between, refused)
    for _ in range(5):
        assert poller.poll() == NOTHING
        clock.advance(REFUSED_FOR_GOOD)()


def test_a_pause_that_is_cut_short_by_the_end_is_no_error(
    runtime: ScriptedRuntime, poller: Poller, pauses: Pauses
) -> None:
    runtime.always(Endpoint.JOB, behaviours.answer(500))
    pauses.then(lambda: True)
    assert poller.poll() == NOTHING
