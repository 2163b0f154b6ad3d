"""The worker between a scripted runtime and handlers made by hand: poll, run, report and drain."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.handler import Outcome, Result, Surroundings
from cm_exec.runtime.location import Location
from cm_exec.worker.torn import REDELIVERY, TornJobs
from tests.support.handling import surroundings

from cm_exec.handlers.spool import Spool
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.job import Job
from cm_exec.runtime import poller as poller_module
from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.errors import RuntimeRefusedError
from cm_exec.runtime.poller import Polled
from cm_exec.worker import Worker
from cm_exec.worker import worker as worker_module
from tests.support import behaviours
from tests.support.ledger import Endpoint
from tests.support.processes import wait_until
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

LONG = 30.0


class Handler:
    """Answers with the query, when it is let; ends when all jobs are told to."""

    def __init__(self, shared: Surroundings, *, held: bool = False) -> None:
        self._shared = shared
        self.release = threading.Event()
        self.started: list[str] = []
        self.told: list[str] = []
        if not held:
            self.release.set()

    def open(self) -> None:
        self.told.append("open")

    def close(self) -> None:
        self.told.append("close")

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        stderr(b"")
        self.started.append(job.job_id)
        while not self.release.wait(0.01) and not self._shared.stop.is_set:
            pass
        if self._shared.stop.is_set:
            yield Failure(reason=Reason.SHUTDOWN, message="ended")
            return
        spool = Spool(None)
        spool.write(job.query)
        yield Result(spool)


class Bench:
    """A worker on a thread of its own."""

    def __init__(self, runtime: RuntimeClient, shared: Surroundings) -> None:
        self._runtime = runtime
        self._shared = shared
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None

    @property
    def worker(self) -> Worker:
        assert self._worker is not None
        return self._worker

    def create(self, handler: Handler, *, concurrency: int = 1, drain_timeout: float = LONG) -> Worker:
        self._worker = Worker(
            runtime=self._runtime,
            handlers={"f": handler},
            surroundings=self._shared,
            shares={},
            schemas=b"[]",
            concurrency=concurrency,
            drain_timeout=drain_timeout,
        )
        return self._worker

    def start(self) -> None:
        self._thread = threading.Thread(target=self.worker.run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "the worker does not end"

    def close(self) -> None:
        self.worker.drain(wait_for_poll=False)
        self._shared.stop.set()
        if self._thread is not None:
            self.join()
        self.worker._poll_link.close()
        for reporter in self.worker._reporters:
            reporter._link.close()


@pytest.fixture
def shared() -> Iterator[Surroundings]:
    with surroundings() as shared:
        yield shared


@pytest.fixture
def bench(replica: Replica, location: Location, shared: Surroundings, runtime: ScriptedRuntime) -> Iterator[Bench]:
    runtime.poll_seconds = 0.05
    bench = Bench(RuntimeClient(replica.modern(), location, None), shared)
    yield bench
    bench.close()


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


def error(runtime: ScriptedRuntime, job_id: str) -> dict[str, Any]:
    members = json.loads(bytes(runtime.result(job_id).body))
    assert isinstance(members, dict)
    return members


def test_jobs_are_answered_and_a_drain_ends_it(runtime: ScriptedRuntime, bench: Bench, shared: Surroundings) -> None:
    handler = Handler(shared)
    worker = bench.create(handler)
    bench.start()
    assert [runtime.call("f", b"%d" % n) for n in range(20)] == [b"%d" % n for n in range(20)]
    worker.drain()
    bench.join()
    assert (worker.error, worker.lost) == (None, 0)
    assert handler.told == ["open", "close"]
    assert [request.endpoint for request in runtime.ledger.all()[:3]] == [
        Endpoint.SCHEMA,
        Endpoint.RESTART,
        Endpoint.JOB,
    ]


def test_polls_go_on_while_all_slots_are_busy_and_jobs_wait_in_order(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    handler = Handler(shared, held=True)
    bench.create(handler)
    bench.start()
    ids = [runtime.submit("f", b"1") for _ in range(4)]
    runtime.ledger.wait_for(lambda: len(runtime.jobs.handed_out) == 4, what="handing out all jobs")
    polls = len(runtime.ledger.all(Endpoint.JOB))
    runtime.wait_for_poll(after=polls + 2)
    assert handler.started == ids[:1]
    handler.release.set()
    for job_id in ids:
        runtime.result(job_id)
    assert handler.started == ids


def test_slots_run_side_by_side(runtime: ScriptedRuntime, bench: Bench, shared: Surroundings) -> None:
    handler = Handler(shared, held=True)
    bench.create(handler, concurrency=3)
    bench.start()
    ids = [runtime.submit("f") for _ in range(4)]
    wait_until(lambda: len(handler.started) == 3, what="three jobs at once")
    handler.release.set()
    for job_id in ids:
        runtime.result(job_id)


def test_a_job_that_is_handed_out_twice_is_answered_once(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(shared, held=True)
    bench.create(handler)
    bench.start()
    for _ in range(3):
        runtime.submit("f", b"1", job_id="j")
    runtime.ledger.wait_for(lambda: len(runtime.jobs.handed_out) == 3, what="handing it out three times")
    wait_until(lambda: caplog.text.count("job j was handed out again while it is in hand") == 2, what="two notes")
    handler.release.set()
    runtime.result("j")
    assert runtime.call("f", b"2") == b"2"
    assert len(runtime.posts("j")) == 1
    assert handler.started[:1] == ["j"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


TORN = b'{"computeModuleJobV1":{"jobId":"torn","queryType":"f","query":"%s"}}' % (b"q" * 1000)


def test_a_job_that_broke_off_on_its_way_is_answered_when_it_does_not_come_again(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    clock = Clock()
    bench.create(Handler(shared))._torn = TornJobs(clock)
    runtime.jobs.known.add("torn")
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(TORN, sent=500))
    bench.start()
    assert runtime.call("f", b"1") == b"1"
    assert runtime.posts("torn") == []
    clock.now = REDELIVERY
    members = error(runtime, "torn")
    assert (members["reason"], members["error"]) == ("malformed_job", "the job broke off on its way here")
    assert len(runtime.posts("torn")) == 1


def test_a_job_that_broke_off_and_came_again_has_one_answer(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    clock = Clock()
    bench.create(Handler(shared))._torn = TornJobs(clock)
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(TORN, sent=500))
    bench.start()
    runtime.submit_raw("torn", TORN)
    assert bytes(runtime.result("torn").body) == b'"%s"' % (b"q" * 1000)
    clock.now = 10 * REDELIVERY
    assert runtime.call("f", b"1") == b"1"
    assert len(runtime.posts("torn")) == 1


def test_at_the_end_a_job_that_broke_off_is_answered_at_once(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    worker = bench.create(Handler(shared))
    runtime.jobs.known.add("torn")
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(TORN, sent=500))
    bench.start()
    runtime.wait_for_poll(after=1)
    worker.drain()
    bench.join()
    assert error(runtime, "torn")["reason"] == "malformed_job"


def test_a_broken_job_with_an_id_is_answered_and_one_without_is_not(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    bench.create(Handler(shared))
    bench.start()
    runtime.submit_raw("j", b'{"jobId":"j","queryType":7}')
    runtime.submit_raw("nobody", b"<html>")
    assert error(runtime, "j")["reason"] == "malformed_job"
    assert runtime.call("f", b"1") == b"1"
    assert {request.job_id for request in runtime.ledger.all(Endpoint.RESULT)} & {"nobody", ""} == set()
    assert "what is not a job" in caplog.text
    assert "<html>" not in caplog.text


def test_the_open_poll_is_waited_for_and_its_job_answered(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    runtime.poll_seconds = 5
    worker = bench.create(Handler(shared))
    bench.start()
    runtime.wait_for_poll()
    worker.drain()
    assert runtime.call("f", b"[1]") == b"[1]"
    bench.join()
    assert len(runtime.ledger.all(Endpoint.JOB)) == 1


def test_an_open_poll_that_hangs_is_given_up(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "OPEN_POLL", 0.2)
    runtime.script(Endpoint.JOB, behaviours.hang)
    worker = bench.create(Handler(shared))
    bench.start()
    runtime.wait_for_poll()
    worker.drain()
    bench.join()
    assert len(runtime.ledger.all(Endpoint.JOB)) == 1
    assert (worker.error, worker.lost) == (None, 0)


def test_jobs_that_take_too_long_are_ended_and_answered(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings
) -> None:
    worker = bench.create(Handler(shared, held=True), drain_timeout=0.2)
    bench.start()
    ids = [runtime.submit("f") for _ in range(3)]
    runtime.ledger.wait_for(lambda: len(runtime.jobs.handed_out) == 3, what="handing out all jobs")
    worker.drain()
    bench.join()
    assert [error(runtime, job_id)["reason"] for job_id in ids] == ["shutdown"] * 3
    assert worker.lost == 0


def test_a_result_that_cannot_be_posted_before_the_end_is_counted(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "OPEN_POLL", 0.1)
    monkeypatch.setattr(worker_module, "LAST_POSTS", 0.2)
    runtime.always(Endpoint.RESULT, behaviours.hang)
    worker = bench.create(Handler(shared), drain_timeout=0.2)
    bench.start()
    job_id = runtime.submit("f")
    runtime.ledger.wait_for(lambda: runtime.posts(job_id), what="the post")
    worker.drain()
    bench.join()
    assert worker.lost == 1


def test_a_drain_ends_a_start_that_hangs(runtime: ScriptedRuntime, bench: Bench, shared: Surroundings) -> None:
    runtime.always(Endpoint.SCHEMA, behaviours.hang)
    worker = bench.create(Handler(shared))
    bench.start()
    runtime.ledger.wait_for(lambda: runtime.ledger.all(Endpoint.SCHEMA), what="the first post")
    worker.drain()
    bench.join()
    assert worker.error is None
    assert runtime.ledger.all(Endpoint.JOB) == []


def test_a_drain_before_the_start_starts_nothing(runtime: ScriptedRuntime, bench: Bench, shared: Surroundings) -> None:
    bench.create(Handler(shared)).drain()
    bench.start()
    bench.join()
    assert runtime.ledger.all(Endpoint.JOB) == []


def test_a_runtime_that_lets_nobody_in_ends_the_worker_with_its_jobs_answered(
    runtime: ScriptedRuntime, bench: Bench, shared: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "REFUSED_FOR_GOOD", 0.0)
    handler = Handler(shared, held=True)
    worker = bench.create(handler)
    runtime.script(Endpoint.JOB, behaviours.normal)
    runtime.always(Endpoint.JOB, behaviours.answer(401))
    job_id = runtime.submit("f", b"1")
    bench.start()
    wait_until(lambda: worker.error is not None, what="the end of polling")
    handler.release.set()
    assert bytes(runtime.result(job_id).body) == b"1"
    bench.join()
    assert isinstance(worker.error, RuntimeRefusedError)
    assert worker.lost == 0


def test_a_bug_while_polling_ends_the_worker_with_its_jobs_answered(
    runtime: ScriptedRuntime,
    bench: Bench,
    shared: Surroundings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Handler(shared, held=True)
    worker = bench.create(handler)
    polls = iter([worker._poller.poll, worker._poller.poll])

    def poll() -> Polled:
        return next(polls)()

    monkeypatch.setattr(worker._poller, "poll", poll)
    job_id = runtime.submit("f", b"1")
    bench.start()
    wait_until(lambda: worker.error is not None, what="the end of polling")
    handler.release.set()
    assert bytes(runtime.result(job_id).body) == b"1"
    bench.join()
    assert isinstance(worker.error, StopIteration)
    assert "bug" in caplog.text
