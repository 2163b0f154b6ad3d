"""The worker between a scripted runtime and handlers made by hand: poll, run, report and drain."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cm_exec.errors import AuthenticationError
from cm_exec.handlers import Completion, HandlerContext, StderrSink
from cm_exec.handlers.outcome import StderrLogger
from cm_exec.handlers.spool import StreamingSpool
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.runtime.client import Polled, Poller, RuntimeClient
from cm_exec.runtime.endpoints import RuntimeEndpoints
from cm_exec.runtime.retry import RetryLimits
from cm_exec.worker.job import JobRunner
from cm_exec.worker.queue import JobQueue, TruncatedJobs
from cm_exec.worker.worker import DrainTimes, Worker
from tests.support import responses
from tests.support.asyncio_tests import eventually
from tests.support.handlers import context_of
from tests.support.replica import Replica
from tests.support.request_log import Endpoint, Request
from tests.support.scripted_runtime import ScriptedRuntime

LONG = 30.0
QUICK = RetryLimits(first_delay=0.02, longest_delay=0.1)


class Handler:
    """Answers with the query once it may; ends when all jobs are ended."""

    streams = False

    def __init__(self, context: HandlerContext, *, held: bool = False, becomes_ready: bool = True) -> None:
        self._context = context
        self.release = asyncio.Event()
        self.ready = asyncio.Event()
        self.started: list[str] = []
        self.calls: list[str] = []
        if not held:
            self.release.set()
        if becomes_ready:
            self.ready.set()

    async def open(self) -> None:
        self.calls.append("open")

    async def wait_until_ready(self) -> None:
        await self.ready.wait()
        self.calls.append("ready")

    async def close(self) -> None:
        self.calls.append("close")

    def new_spool(self) -> StreamingSpool:
        return StreamingSpool(None)

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        stderr.write(b"")
        self.started.append(job.job_id)
        ended = asyncio.get_running_loop().create_future()

        def abort(reason: Reason, _detail: str) -> None:
            if not ended.done():
                ended.set_result(reason)

        self._context.running[job.job_id] = abort
        released = asyncio.ensure_future(self.release.wait())
        await asyncio.wait((released, ended), return_when=asyncio.FIRST_COMPLETED)
        released.cancel()
        del self._context.running[job.job_id]
        if ended.done():
            return Completion(Failure(reason=ended.result(), message="ended"))
        spool.write(bytes(job.query))
        return Completion()


class WorkerHarness:
    """Runs a worker as a task."""

    def __init__(self, client: RuntimeClient, runtime: ScriptedRuntime, limits: RetryLimits) -> None:
        self.client = client
        self.runtime = runtime
        self.context = context_of()
        self._limits = limits
        self.polling: list[bool] = []
        self._task: asyncio.Task[None] | None = None

    def create(
        self,
        handler: Handler,
        *,
        concurrency: int = 1,
        times: DrainTimes | None = None,
        waits_for_handlers: bool = True,
    ) -> Worker:
        context = self.context
        runner = JobRunner(
            {"f": handler},
            self.client.reporter,
            open_stderr=lambda job, tags: StderrLogger(tags, job.redact),
            abort=context.abort,
            is_stopping=lambda: context.stopping,
        )
        self.worker = Worker(
            source=self.client.poller,
            handlers={"f": handler},
            queue=JobQueue(concurrency, {}),
            truncated=TruncatedJobs(self._limits.redelivery),
            register=lambda: self.client.register(b"[]"),
            answer=runner.answer,
            end_jobs=context.abort_all,
            drain_times=times or DrainTimes(jobs=LONG),
            waits_for_handlers=waits_for_handlers,
            is_polling=self.polling.append,
        )
        return self.worker

    def start(self, handler: Handler, **options: Any) -> Worker:
        worker = self.create(handler, **options)
        self._task = asyncio.create_task(worker.run())
        return worker

    async def end(self) -> None:
        """Wait for the worker's end, and raise what it raises."""
        assert self._task is not None
        async with asyncio.timeout(LONG):
            await self._task

    @property
    def has_ended(self) -> bool:
        return self._task is not None and self._task.done()

    async def close(self) -> None:
        self.worker.give_up_soon()
        self.context.abort_all()
        if self._task is not None:
            await asyncio.wait((self._task,))
        self.client.close()

    async def result(self, job_id: str) -> Request:
        """Return the first accepted result of a job."""

        def accepted() -> Request | None:
            return next((post for post in self.runtime.posts(job_id) if post.accepted), None)

        await eventually(accepted, what=f"a result for {job_id}")
        request = accepted()
        assert request is not None
        return request

    async def call(self, query: bytes) -> bytes:
        return bytes((await self.result(self.runtime.submit("f", query))).body)

    async def error(self, job_id: str) -> dict[str, Any]:
        members = json.loads(bytes((await self.result(job_id)).body))
        assert isinstance(members, dict)
        return members

    async def handed_out(self, number: int) -> None:
        await eventually(lambda: len(self.runtime.jobs.handed_out) >= number, what=f"handing out {number} jobs")

    async def polls(self, more_than: int) -> None:
        await eventually(lambda: len(self.runtime.request_log.all(Endpoint.JOB)) > more_than, what="a poll")


NewHarness = Callable[..., Any]


@pytest.fixture
def harness(replica: Replica, endpoints: RuntimeEndpoints, runtime: ScriptedRuntime) -> NewHarness:
    runtime.poll_seconds = 0.05

    @asynccontextmanager
    async def harness(limits: RetryLimits = QUICK) -> AsyncIterator[WorkerHarness]:
        harness = WorkerHarness(RuntimeClient(replica.modern(), endpoints, None, limits), runtime, limits)
        try:
            yield harness
        finally:
            await harness.close()

    return harness


async def test_jobs_are_answered_and_a_drain_ends_it(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    async with harness() as worker_run:
        handler = Handler(worker_run.context)
        worker = worker_run.start(handler)
        assert [await worker_run.call(b"%d" % n) for n in range(20)] == [b"%d" % n for n in range(20)]
        assert worker_run.polling == [True]
        worker.drain()
        await worker_run.end()
        assert worker.lost == 0
        assert handler.calls == ["open", "ready", "close"]
        assert worker_run.polling == [True, False]
    endpoints = [request.endpoint for request in runtime.request_log.all()[:3]]
    assert endpoints == [Endpoint.SCHEMA, Endpoint.RESTART, Endpoint.JOB]


async def test_no_request_before_handlers_are_ready(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """The worker sends nothing before its handlers are ready."""
    async with harness() as worker_run:
        handler = Handler(worker_run.context, becomes_ready=False)
        worker_run.start(handler)
        await asyncio.sleep(0.2)
        assert runtime.request_log.all() == []
        handler.ready.set()
        assert await worker_run.call(b"1") == b"1"


async def test_polls_before_handlers_are_ready(harness: NewHarness) -> None:
    """Polls may begin before the handlers are ready."""
    async with harness() as worker_run:
        worker_run.start(Handler(worker_run.context, becomes_ready=False), waits_for_handlers=False)
        assert await worker_run.call(b"1") == b"1"


async def test_polls_with_busy_slots(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """Polls continue while all slots are busy, and jobs wait in order."""
    async with harness() as worker_run:
        handler = Handler(worker_run.context, held=True)
        worker_run.start(handler)
        ids = [runtime.submit("f", b"1") for _ in range(4)]
        await worker_run.handed_out(4)
        await worker_run.polls(len(runtime.request_log.all(Endpoint.JOB)) + 2)
        assert handler.started == ids[:1]
        handler.release.set()
        for job_id in ids:
            await worker_run.result(job_id)
        assert handler.started == ids


async def test_slots_run_side_by_side(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    async with harness() as worker_run:
        handler = Handler(worker_run.context, held=True)
        worker_run.start(handler, concurrency=3)
        ids = [runtime.submit("f") for _ in range(4)]
        await worker_run.handed_out(4)
        await eventually(lambda: len(handler.started) >= 3, what="three starts")
        await asyncio.sleep(0.05)
        assert len(handler.started) == 3
        handler.release.set()
        for job_id in ids:
            await worker_run.result(job_id)


async def test_redelivery_of_an_outstanding_job(
    runtime: ScriptedRuntime, harness: NewHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """An outstanding job that is delivered again runs once."""
    async with harness() as worker_run:
        handler = Handler(worker_run.context, held=True)
        worker_run.start(handler)
        for _ in range(3):
            runtime.submit("f", b"1", job_id="j")
        await worker_run.handed_out(3)
        await eventually(
            lambda: caplog.text.count("job j was handed out again while it is in progress") == 2, what="two notes"
        )
        handler.release.set()
        await worker_run.result("j")
        assert await worker_run.call(b"2") == b"2"
        assert len(runtime.posts("j")) == 1
        assert handler.started.count("j") == 1


async def test_redelivery_of_an_answered_job(
    runtime: ScriptedRuntime, harness: NewHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """An answered job that is delivered again does not run again."""
    async with harness() as worker_run:
        handler = Handler(worker_run.context)
        worker_run.start(handler)
        for _ in range(2):
            runtime.submit("f", b"1", job_id="j")
            await worker_run.result("j")
        await worker_run.handed_out(2)
        assert await worker_run.call(b"2") == b"2"
        assert len(runtime.posts("j")) == 1
        assert "handed out again after its result was accepted" in caplog.text
        assert handler.started.count("j") == 1


async def test_redelivery_after_a_rejected_result(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A job whose result was not accepted runs again."""
    async with harness() as worker_run:
        worker_run.start(Handler(worker_run.context))
        runtime.script(Endpoint.RESULT, responses.answer(404))
        runtime.submit("f", b"1", job_id="j")
        await eventually(lambda: runtime.posts("j"), what="the first result")
        await asyncio.sleep(0.1)
        runtime.submit("f", b"1", job_id="j")
        assert bytes((await worker_run.result("j")).body) == b"1"


async def test_endless_redelivery(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A job that is delivered endlessly makes polls less frequent."""
    async with harness(RetryLimits(first_delay=0.2, longest_delay=1)) as worker_run:
        handler = Handler(worker_run.context, held=True)
        body = b'{"computeModuleJobV1":{"jobId":"j","queryType":"f","query":1}}'
        runtime.always(Endpoint.JOB, responses.answer(200, body))
        worker_run.start(handler)
        await asyncio.sleep(2)
        assert 2 <= len(runtime.request_log.all(Endpoint.JOB)) <= 12
        assert handler.started == ["j"]


TRUNCATED = b'{"computeModuleJobV1":{"jobId":"truncated","queryType":"f","query":"%s"}}' % (b"q" * 1000)


async def test_truncated_job(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A truncated job that is not delivered again is answered."""
    async with harness(RetryLimits(first_delay=0.02, longest_delay=0.1, redelivery=1.0)) as worker_run:
        runtime.jobs.known.add("truncated")
        runtime.script(Endpoint.JOB, responses.reset_within_response(TRUNCATED, sent=500))
        worker_run.start(Handler(worker_run.context))
        await worker_run.polls(1)
        since = time.monotonic()
        assert runtime.posts("truncated") == []
        members = await worker_run.error("truncated")
        assert time.monotonic() - since > 0.5
        assert (members["reason"], members["error"]) == ("malformed_job", "the job's delivery was truncated")
        assert len(runtime.posts("truncated")) == 1


async def test_truncated_job_of_a_runtime_that_is_away(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """The time in which no poll succeeds does not count: the job is delivered again afterwards."""
    async with harness(RetryLimits(first_delay=0.02, longest_delay=0.1, redelivery=0.3)) as worker_run:
        runtime.script(Endpoint.JOB, responses.reset_within_response(TRUNCATED, sent=500))
        runtime.always(Endpoint.JOB, responses.answer(503))
        worker_run.start(Handler(worker_run.context))
        await worker_run.polls(1)
        await asyncio.sleep(0.6)
        polls = len(runtime.request_log.all(Endpoint.JOB))
        await worker_run.polls(polls + 1)
        assert runtime.posts("truncated") == []
        runtime.submit_raw("truncated", TRUNCATED)
        runtime.always(Endpoint.JOB, responses.normal)
        assert bytes((await worker_run.result("truncated")).body) == b'"%s"' % (b"q" * 1000)


async def test_redelivery_of_a_truncated_job(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A truncated job that is delivered again gets one answer."""
    async with harness(RetryLimits(first_delay=0.02, longest_delay=0.1, redelivery=0.5)) as worker_run:
        runtime.script(Endpoint.JOB, responses.reset_within_response(TRUNCATED, sent=500))
        worker_run.start(Handler(worker_run.context))
        runtime.submit_raw("truncated", TRUNCATED)
        assert bytes((await worker_run.result("truncated")).body) == b'"%s"' % (b"q" * 1000)
        await asyncio.sleep(0.8)
        assert await worker_run.call(b"1") == b"1"
        assert len(runtime.posts("truncated")) == 1


@pytest.mark.parametrize("held", [True, False], ids=["outstanding", "answered"])
async def test_truncated_redelivery(runtime: ScriptedRuntime, harness: NewHarness, held: bool) -> None:
    """A truncated redelivery does not overwrite a result."""
    async with harness(RetryLimits(first_delay=0.02, longest_delay=0.1, redelivery=0.3)) as worker_run:
        handler = Handler(worker_run.context, held=held)
        worker_run.start(handler)
        runtime.submit_raw("truncated", TRUNCATED)
        await worker_run.handed_out(1)
        if not held:
            await worker_run.result("truncated")
        polls = len(runtime.request_log.all(Endpoint.JOB))
        runtime.script(Endpoint.JOB, responses.reset_within_response(TRUNCATED, sent=500))
        await worker_run.polls(polls + 1)
        await asyncio.sleep(0.6)
        handler.release.set()
        assert bytes((await worker_run.result("truncated")).body).startswith(b'"qqq')
        assert await worker_run.call(b"1") == b"1"
        assert len(runtime.posts("truncated")) == 1


async def test_truncated_job_in_a_drain(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A drain answers a truncated job at once."""
    async with harness() as worker_run:
        runtime.jobs.known.add("truncated")
        runtime.script(Endpoint.JOB, responses.reset_within_response(TRUNCATED, sent=500))
        worker = worker_run.start(Handler(worker_run.context))
        await worker_run.polls(1)
        worker.drain()
        await worker_run.end()
        assert (await worker_run.error("truncated"))["reason"] == "malformed_job"


async def test_malformed_job(runtime: ScriptedRuntime, harness: NewHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed job is answered if it has an id."""
    async with harness() as worker_run:
        worker_run.start(Handler(worker_run.context))
        runtime.submit_raw("j", b'{"jobId":"j","queryType":7}')
        runtime.submit_raw("nobody", b"<html>")
        assert (await worker_run.error("j"))["reason"] == "malformed_job"
        assert await worker_run.call(b"1") == b"1"
        assert {request.job_id for request in runtime.request_log.all(Endpoint.RESULT)} & {"nobody", ""} == set()
        assert "what is not a job" in caplog.text
        assert "<html>" not in caplog.text


async def test_drain_with_an_open_poll(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A drain waits for the open poll and answers its job."""
    runtime.poll_seconds = 5
    async with harness() as worker_run:
        worker = worker_run.start(Handler(worker_run.context))
        await worker_run.polls(0)
        worker.drain()
        assert await worker_run.call(b"[1]") == b"[1]"
        await worker_run.end()
        assert len(runtime.request_log.all(Endpoint.JOB)) == 1


async def test_an_open_poll_that_hangs_is_given_up(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    runtime.script(Endpoint.JOB, responses.hang)
    async with harness() as worker_run:
        worker = worker_run.start(Handler(worker_run.context), times=DrainTimes(jobs=LONG, poll=0.2))
        await worker_run.polls(0)
        worker.drain()
        await worker_run.end()
        assert len(runtime.request_log.all(Endpoint.JOB)) == 1
        assert worker.lost == 0


async def test_slow_jobs_in_a_drain(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """Jobs that take too long in a drain are ended and answered."""
    async with harness() as worker_run:
        worker = worker_run.start(Handler(worker_run.context, held=True), times=DrainTimes(jobs=0.2, poll=0.2))
        ids = [runtime.submit("f") for _ in range(3)]
        await worker_run.handed_out(3)
        worker.drain()
        await worker_run.end()
        assert [(await worker_run.error(job_id))["reason"] for job_id in ids] == [Reason.SHUTDOWN.value] * 3
        assert worker.lost == 0


async def test_lost_result(runtime: ScriptedRuntime, harness: NewHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A result that cannot be posted before the end is counted as lost."""
    runtime.always(Endpoint.RESULT, responses.hang)
    async with harness() as worker_run:
        worker = worker_run.start(Handler(worker_run.context), times=DrainTimes(jobs=0.2, poll=0.1, posts=0.3))
        job_id = runtime.submit("f")
        await eventually(lambda: runtime.posts(job_id), what="the post")
        worker.drain()
        await worker_run.end()
        assert worker.lost == 1
        assert f"job {job_id}: its result could not be posted before the end" in caplog.text


async def test_give_up(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A worker that gives up waits for no poll and posts its errors."""
    runtime.poll_seconds = 0.3
    async with harness() as worker_run:
        worker = worker_run.start(Handler(worker_run.context, held=True))
        job_id = runtime.submit("f")
        await worker_run.handed_out(1)
        runtime.always(Endpoint.JOB, responses.hang)
        await worker_run.polls(1)
        worker_run.context.abort_all()
        worker.give_up_soon()
        await worker_run.end()
        assert (await worker_run.error(job_id))["reason"] == "shutdown"
        assert worker.lost == 0


@pytest.mark.parametrize("what", ["posts", "handlers"])
async def test_a_drain_ends_a_start_that_hangs(runtime: ScriptedRuntime, harness: NewHarness, what: str) -> None:
    runtime.always(Endpoint.SCHEMA, responses.hang)
    async with harness() as worker_run:
        handler = Handler(worker_run.context, becomes_ready=what == "posts")
        worker = worker_run.start(handler)
        await eventually(lambda: runtime.request_log.all() if what == "posts" else handler.calls, what="the start")
        worker.drain()
        await worker_run.end()
        assert runtime.request_log.all(Endpoint.JOB) == []
        assert handler.calls[-1] == "close"


async def test_a_drain_before_the_start_sends_nothing(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    async with harness() as worker_run:
        worker_run.start(Handler(worker_run.context)).drain()
        await worker_run.end()
        assert runtime.request_log.all(Endpoint.JOB) == []


async def test_rejected_token(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A runtime that rejects the token for too long ends the worker, with its jobs answered."""
    async with harness(RetryLimits(first_delay=0.02, longest_delay=0.05, auth_failure=0.2)) as worker_run:
        handler = Handler(worker_run.context, held=True)
        runtime.script(Endpoint.JOB, responses.normal)
        runtime.always(Endpoint.JOB, responses.answer(401))
        job_id = runtime.submit("f", b"1")
        worker = worker_run.start(handler)
        await eventually(lambda: worker_run.polling == [True, False], what="the end of polling")
        assert not worker_run.has_ended
        handler.release.set()
        with pytest.raises(AuthenticationError):
            await worker_run.end()
        assert bytes((await worker_run.result(job_id)).body) == b"1"
        assert worker.lost == 0


async def test_bug_while_polling(runtime: ScriptedRuntime, harness: NewHarness) -> None:
    """A bug while polling ends the worker, with its jobs answered."""
    async with harness() as worker_run:
        handler = Handler(worker_run.context, held=True)

        class Breaking(Poller):
            async def poll(self) -> Polled:
                if handler.started:
                    raise RuntimeError("boom")
                return await super().poll()

        worker_run.client.poller = Breaking(worker_run.client._session, worker_run.client.endpoints.job, QUICK)
        job_id = runtime.submit("f", b"1")
        worker_run.start(handler)
        await eventually(lambda: worker_run.polling == [True, False], what="the end of polling")
        handler.release.set()
        with pytest.raises(RuntimeError, match="boom"):
            await worker_run.end()
        assert bytes((await worker_run.result(job_id)).body) == b"1"
