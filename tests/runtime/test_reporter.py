"""Posting one result until it is decided what becomes of it."""

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from cm_exec.runtime.link import Link
from cm_exec.runtime.location import Location
from tests.support.pauses import Pauses, give_up

from cm_exec.runtime import reporter as reporter_module
from cm_exec.runtime.reporter import REFUSED_RESULT, Delivered, Delivery, Reporter
from tests.support import behaviours
from tests.support.ledger import Endpoint
from tests.support.replica import Replica
from tests.support.scripted_runtime import API, ScriptedRuntime

Report = Callable[..., Delivered]


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def reporter(link: Link, location: Location, pauses: Pauses) -> Reporter:
    return Reporter(link, location.result, pauses)


@pytest.fixture(autouse=True)
def a_job(runtime: ScriptedRuntime) -> None:
    runtime.submit("f", job_id="j")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_success(runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, status: int) -> None:
    runtime.always(Endpoint.RESULT, behaviours.answer(status, b"" if status == 204 else b"thanks"))
    assert reporter.deliver("j", b"result").delivery is Delivery.ACCEPTED
    (post,) = runtime.posts("j")
    assert (bytes(post.body), post.head.header("content-type")) == (b"result", "application/octet-stream")
    assert pauses.seconds == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_is_transient_is_tried_again_until_it_is_taken(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, status: int
) -> None:
    runtime.script(Endpoint.RESULT, *[behaviours.answer(status)] * 9)
    assert reporter.deliver("j", b"result").delivery is Delivery.ACCEPTED
    assert [bytes(post.body) for post in runtime.posts("j")] == [b"result"] * 10
    assert len(pauses.seconds) == 9
    pauses.assert_backs_off()


def test_a_runtime_that_breaks_in_any_way_is_tried_again(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses
) -> None:
    runtime.script(Endpoint.RESULT, behaviours.reset_before_response, behaviours.garbage, behaviours.accept_then_reset)
    pauses.then(runtime.go_down, at=2).then(runtime.come_back, at=3)
    assert reporter.deliver("j", b"result").delivery is Delivery.ACCEPTED
    assert {bytes(post.body) for post in runtime.posts("j")} == {b"result"}


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_result_that_nobody_waits_for_is_dropped(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.always(Endpoint.RESULT, behaviours.answer(status))
    assert reporter.deliver("j", b"result") == Delivered(Delivery.GONE, f"the runtime answers {status}")
    assert len(runtime.posts("j")) == 1
    assert pauses.seconds == []
    assert "job j" in caplog.text
    assert str(status) in caplog.text


@pytest.mark.parametrize("status", [300, 302, 400, 405, 413, 415, 422])
def test_a_result_that_will_never_be_taken_is_refused_at_once(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, status: int
) -> None:
    runtime.always(Endpoint.RESULT, behaviours.answer(status))
    assert reporter.deliver("j", b"result") == Delivered(Delivery.REFUSED, f"the runtime answers {status}")
    assert len(runtime.posts("j")) == 1
    assert pauses.seconds == []


def test_a_result_is_given_up_when_the_worker_ends_and_this_is_told(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.always(Endpoint.RESULT, behaviours.answer(500))
    pauses.then(give_up, at=3)
    assert reporter.deliver("j", b"result") == Delivered(Delivery.GIVEN_UP, "the runtime answers 500")
    assert len(runtime.posts("j")) == 3
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "job j: its result could not be posted before the end: the runtime answers 500"
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_token_is_read_again(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, replica: Replica, status: int
) -> None:
    runtime.rotate_token("next")
    runtime.script(Endpoint.RESULT, behaviours.answer(status))
    pauses.then(lambda: replica.write_token("next"), at=2)
    assert reporter.deliver("j", b"result").delivery is Delivery.ACCEPTED
    assert [post.status for post in runtime.posts("j")] == [status, 401, 204]
    pauses.assert_backs_off()


class Clock:
    """Seconds that go by in the pauses."""

    def __init__(self, each: float) -> None:
        self.now, self._each = 0.0, each

    def monotonic(self) -> float:
        return self.now

    def tick(self) -> bool:
        self.now += self._each
        return False


def test_a_result_that_is_never_authorized_is_refused_in_the_end(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(each=30.0)
    clock.now = 1.0
    monkeypatch.setattr(reporter_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    runtime.always(Endpoint.RESULT, behaviours.answer(403))
    for number in range(1, 20):
        pauses.then(clock.tick, at=number)
    assert reporter.deliver("j", b"result").delivery is Delivery.REFUSED
    assert len(runtime.posts("j")) == REFUSED_RESULT // 30 + 2


def test_time_without_authorization_counts_from_its_last_beginning(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(each=REFUSED_RESULT)
    clock.now = 1.0
    monkeypatch.setattr(reporter_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    runtime.script(Endpoint.RESULT, *[behaviours.answer(status) for status in (401, 500, 401, 503, 401)])
    for number in range(1, 20):
        pauses.then(clock.tick, at=number)
    assert reporter.deliver("j", b"result").delivery is Delivery.ACCEPTED


@pytest.mark.parametrize("job_id", ["a/b", "../x", "a b?c#d%", "é😀", "", "a\r\nX: y"])
def test_any_job_id_is_one_segment_of_the_path(runtime: ScriptedRuntime, reporter: Reporter, job_id: str) -> None:
    runtime.always(Endpoint.RESULT, behaviours.answer(204))
    reporter.deliver(job_id, b"")
    (post,) = runtime.ledger.all(Endpoint.RESULT)
    assert post.job_id == job_id
    assert post.head.target.count("/") == f"{API}/results/".count("/")


def test_a_post_that_hangs_is_given_up_from_another_thread(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses
) -> None:
    def hang_until_given_up(exchange: behaviours.Exchange) -> None:
        exchange.receive()
        reporter.abort()
        behaviours.hang(exchange)

    runtime.script(Endpoint.RESULT, hang_until_given_up)
    pauses.then(give_up)
    assert reporter.deliver("j", b"result").delivery is Delivery.GIVEN_UP


def test_neither_result_nor_token_is_logged(
    runtime: ScriptedRuntime, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.script(Endpoint.RESULT, *(behaviours.answer(status) for status in (500, 401)), behaviours.garbage)
    reporter.deliver("j", b"the result")
    assert caplog.records
    assert "the result of job j" in caplog.text
    assert runtime.token not in caplog.text


def test_a_result_may_be_posted_as_it_is_produced(runtime: ScriptedRuntime, reporter: Reporter) -> None:
    assert reporter.stream("j", iter([b"a", b"b"])) == Delivered(Delivery.ACCEPTED, "the runtime answers 204")
    assert bytes(runtime.posts("j")[0].body) == b"ab"


@pytest.mark.parametrize(("status", "delivery"), [(404, Delivery.GONE), (413, Delivery.REFUSED)])
def test_what_becomes_of_a_streamed_result_may_be_decided_at_once(
    runtime: ScriptedRuntime, reporter: Reporter, status: int, delivery: Delivery
) -> None:
    runtime.script(Endpoint.RESULT, behaviours.answer(status))
    assert reporter.stream("j", iter([b"a"])) == Delivered(delivery, f"the runtime answers {status}")


@pytest.mark.parametrize("behaviour", [behaviours.answer(503), behaviours.reset_before_response, behaviours.garbage])
def test_a_streamed_result_that_came_to_nothing_is_left_to_be_posted_whole(
    runtime: ScriptedRuntime, reporter: Reporter, pauses: Pauses, behaviour: behaviours.Behaviour
) -> None:
    runtime.script(Endpoint.RESULT, behaviour)
    assert reporter.stream("j", iter([b"a"])) is None
    assert len(runtime.posts("j")) == 1
    assert pauses.seconds == []


def test_a_rotated_token_is_read_again_after_a_stream(
    runtime: ScriptedRuntime, reporter: Reporter, replica: Replica
) -> None:
    runtime.rotate_token("next")
    replica.write_token("next")
    assert reporter.stream("j", iter([b"a"])) is None
    assert reporter.deliver("j", b"a").delivery is Delivery.ACCEPTED
    assert [post.status for post in runtime.posts("j")] == [401, 204]


def test_what_the_producer_raises_comes_through(runtime: ScriptedRuntime, reporter: Reporter) -> None:
    def half() -> Iterator[bytes]:
        yield b"half"
        raise LookupError

    with pytest.raises(LookupError):
        reporter.stream("j", half())
    assert not any(post.accepted for post in runtime.posts("j"))
