"""One job from the queue to its answer: exactly one, whatever the handler and the runtime do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cm_exec.handlers import Completion, StderrSink
from cm_exec.handlers.outcome import StderrLogger
from cm_exec.handlers.spool import MEMORY_LIMIT, StreamingSpool
from cm_exec.protocol import Job, MalformedJobError
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.runtime.client import Delivered
from cm_exec.runtime.retry import Verdict
from cm_exec.worker.job import Answer, JobRunner, SpooledResult
from cm_exec.worker.queue import QueuedJob

JOB = Job(job_id="j", query_type="double", query=b"21", auth_header="Bearer secret")
FAILURE = Failure(
    reason=Reason.EXIT, message="it failed", exit_code=3, stderr=b"Bearer secret, secret", output=b"secret"
)
Body = bytes | SpooledResult


class Runtime:
    """Keeps what is posted, and answers as a test says, then by accepting. None: a stream that fails."""

    def __init__(self, *deliveries: Verdict | Exception | None) -> None:
        self._deliveries = list(deliveries)
        self.posted: list[tuple[str, bytes]] = []
        self.streamed: list[tuple[str, bytes]] = []
        self.aborted: list[tuple[str, str]] = []

    async def deliver(self, job_id: str, body: Body) -> Delivered:
        self.posted.append((job_id, body if isinstance(body, bytes) else b"".join(body.chunks())))
        return self._next() or Delivered(Verdict.ACCEPTED, "")

    async def stream(self, job_id: str, chunks: AsyncIterator[bytes]) -> Delivered | None:
        if self._deliveries and self._deliveries[0] is Verdict.GONE:  # at once, as a 404 is
            return self._next()
        self.streamed.append((job_id, b"".join([chunk async for chunk in chunks])))
        return self._next()

    def abort(self, job_id: str, reason: Reason, detail: str) -> None:
        self.aborted.append((job_id, f"{reason}: {detail}"))

    def _next(self) -> Delivered | None:
        decided = self._deliveries.pop(0) if self._deliveries else Verdict.ACCEPTED
        if isinstance(decided, Exception):
            raise decided
        return None if decided is None else Delivered(decided, "the runtime answers 499")

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posted]


class Handler:
    """Writes `content` and ends with `failure`, or raises `bug`."""

    def __init__(
        self,
        content: bytes = b"",
        failure: Failure | None = None,
        *,
        stderr: bytes = b"",
        streams: bool = False,
        bug: Exception | None = None,
        wait_for: Callable[[], Awaitable[None]] | None = None,
        cleanup: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.streams = streams
        self._content, self._failure, self._stderr, self._bug = content, failure, stderr, bug
        self._wait_for, self._cleanup = wait_for, cleanup
        self.runs = 0

    def new_spool(self) -> StreamingSpool:
        return StreamingSpool(None)

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        assert job is JOB
        self.runs += 1
        stderr.write(self._stderr)
        for start in range(0, len(self._content), 100_000):
            spool.write(self._content[start : start + 100_000])
            await asyncio.sleep(0)
        if self._wait_for is not None:
            await self._wait_for()
        if self._bug is not None:
            raise self._bug
        return Completion(self._failure, self._cleanup)


async def answered(handler: Handler, runtime: Runtime, *, item: QueuedJob = JOB, stopping: bool = False) -> Answer:
    runner = JobRunner(
        {"double": handler},
        runtime,
        open_stderr=lambda job, tags: StderrLogger(tags, job.redact),
        abort=runtime.abort,
        is_stopping=lambda: stopping,
    )
    return await runner.answer(item)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="cm_exec")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if isinstance(record.msg, str)]


async def test_result(caplog: pytest.LogCaptureFixture) -> None:
    """A result is posted unchanged, and logged without its content."""
    runtime = Runtime()
    answer = await answered(Handler(b"forty-two"), runtime)
    assert runtime.posted == [("j", b"forty-two")]
    assert (answer.failure, answer.size, answer.posted.is_accepted) == (None, 9, True)
    (line,) = lines(caplog)
    assert line.startswith("INFO ok, ")
    assert line.endswith(" ms, 9 bytes")
    assert getattr(caplog.records[0], "tags", None) == {"job_id": "j", "function": "double"}


@pytest.mark.parametrize("size", [MEMORY_LIMIT, MEMORY_LIMIT + 1, 3 * MEMORY_LIMIT])
async def test_a_result_of_any_size_is_posted_whole(size: int) -> None:
    runtime = Runtime()
    await answered(Handler(bytes(size)), runtime)
    assert runtime.posted == [("j", bytes(size))]


async def test_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is posted as an error, without tokens."""
    runtime = Runtime()
    answer = await answered(Handler(b"partial", FAILURE), runtime)
    assert runtime.errors == [
        {
            "error": "it failed",
            "reason": "exit",
            "jobId": "j",
            "queryType": "double",
            "exitCode": 3,
            "stderr": "[redacted], [redacted]",
            "output": "[redacted]",
        }
    ]
    assert answer.failure is not None
    assert b"secret" not in answer.failure.stderr
    (line,) = lines(caplog)
    assert line.startswith("WARNING failed: exit: it failed; output: '[redacted]', ")


async def test_unknown_function() -> None:
    """The error for an unknown function has the closest name or all names."""
    runtime, handler = Runtime(), Handler()
    await answered(handler, runtime, item=Job(job_id="j", query_type="duoble", query=b"1"))
    await answered(handler, runtime, item=Job(job_id="j", query_type="zzz", query=b"1"))
    near, far = runtime.errors
    assert near["reason"] == far["reason"] == "unknown_function"
    assert "did you mean 'double'?" in near["error"]
    assert "it has 'double'" in far["error"]
    assert handler.runs == 0


async def test_long_function_name(caplog: pytest.LogCaptureFixture) -> None:
    """A function's name of any length yields a short error and a short log line."""
    runtime = Runtime()
    await answered(Handler(), runtime, item=Job(job_id="j", query_type="f" * 5_000_000, query=b"1"))
    assert len(runtime.posted[0][1]) < 2000
    assert len(str(caplog.records[0].__dict__)) < 4000


async def test_the_remains_of_a_job_are_answered() -> None:
    runtime = Runtime()
    await answered(Handler(), runtime, item=MalformedJobError("no query", job_id="x", query_type="double"))
    assert runtime.errors == [{"error": "no query", "reason": "malformed_job", "jobId": "x", "queryType": "double"}]


async def test_job_during_shutdown() -> None:
    """No command starts while the worker shuts down."""
    runtime, handler = Runtime(), Handler()
    await answered(handler, runtime, stopping=True)
    assert [error["reason"] for error in runtime.errors] == ["shutdown"]
    assert handler.runs == 0


async def test_rejected_result() -> None:
    """A small error replaces a rejected result."""
    runtime = Runtime(Verdict.REFUSED)
    answer = await answered(Handler(b"too much"), runtime)
    (_, result), (_, error) = runtime.posted
    assert result == b"too much"
    assert json.loads(error)["reason"] == "result_rejected"
    assert "8 bytes: the runtime answers 499" in json.loads(error)["error"]
    assert answer.posted.is_accepted


@pytest.mark.parametrize(("failure", "posts"), [(FAILURE, 1), (None, 2)])
async def test_a_rejected_error_is_not_posted_again(failure: Failure | None, posts: int) -> None:
    runtime = Runtime(Verdict.REFUSED, Verdict.REFUSED)
    answer = await answered(Handler(b"x", failure), runtime)
    assert len(runtime.posted) == posts
    assert answer.posted.is_rejected


async def test_result_of_an_abandoned_job(caplog: pytest.LogCaptureFixture) -> None:
    """A result whose caller has gone is not overwritten."""
    runtime = Runtime(Verdict.GONE)
    await answered(Handler(b"x"), runtime)
    assert runtime.posted == [("j", b"x")]
    assert lines(caplog)[0].endswith("1 bytes, not delivered: the runtime answers 499")


async def test_stderr(caplog: pytest.LogCaptureFixture) -> None:
    """The log gets stderr with the job's tags and without tokens."""
    await answered(Handler(stderr=b"I know Bearer secret and secret\nunfinished"), Runtime())
    logged = [record for record in caplog.records if isinstance(record.msg, bytes)]
    assert [record.msg for record in logged] == [b"I know [redacted] and [redacted]\n", b"unfinished"]
    assert all(getattr(record, "tags", None) == {"job_id": "j", "function": "double"} for record in logged)


async def test_cleanup_after_the_result() -> None:
    """Processes that a job leaves are ended after its result is posted."""
    runtime, posted = Runtime(), list[int]()

    async def cleanup() -> None:
        posted.append(len(runtime.posted))

    await answered(Handler(b"x", cleanup=cleanup), runtime)
    assert posted == [1]


async def test_stream() -> None:
    """A stream is posted as it arrives, and only once."""
    runtime = Runtime()

    async def until_streamed() -> None:
        while not runtime.streamed and not started.is_set():
            started.set()
            await asyncio.sleep(0)

    started = asyncio.Event()
    answer = await answered(Handler(b"as it comes", streams=True, wait_for=until_streamed), runtime)
    assert runtime.streamed == [("j", b"as it comes")]
    assert runtime.posted == []
    assert (answer.size, answer.failure) == (11, None)


async def test_empty_stream() -> None:
    """An empty stream is posted as an empty result."""
    runtime = Runtime()
    await answered(Handler(streams=True), runtime)
    assert (runtime.streamed, runtime.posted) == ([], [("j", b"")])


async def test_stream_that_was_not_posted() -> None:
    """A stream that was not posted is posted whole."""
    runtime = Runtime(None)
    await answered(Handler(b"as it comes", streams=True), runtime)
    assert runtime.posted == [("j", b"as it comes")]


async def test_incomplete_stream() -> None:
    """An error follows a stream that ends incomplete."""
    runtime = Runtime()
    answer = await answered(Handler(b"half", FAILURE, streams=True), runtime)
    assert runtime.streamed == []
    assert [error["reason"] for error in runtime.errors] == ["exit"]
    assert answer.failure is not None


async def test_stream_of_an_abandoned_job() -> None:
    """A 404 during a stream ends the job at once, so that the command does not hold its slot."""
    runtime = Runtime(Verdict.GONE)

    async def until_aborted() -> None:
        while not runtime.aborted:
            await asyncio.sleep(0)

    await answered(Handler(b"late", FAILURE, streams=True, wait_for=until_aborted), runtime)
    assert runtime.aborted == [("j", "shutdown: the runtime does not wait for its result")]
    assert runtime.posted == [], "nobody waits for an error either"


async def test_rejected_stream() -> None:
    """An error follows a rejected stream."""
    runtime = Runtime(Verdict.REFUSED)
    await answered(Handler(b"too much", streams=True), runtime)
    assert [error["reason"] for error in runtime.errors] == ["result_rejected"]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_bug_before_the_answer_is_answered(caplog: pytest.LogCaptureFixture, streams: bool) -> None:
    runtime = Runtime()
    await answered(Handler(bug=RuntimeError("boom"), streams=streams), runtime)
    assert len(runtime.posted) == 1
    assert "bug" in runtime.errors[0]["error"]
    assert "boom" not in runtime.errors[0]["error"]
    assert any(record.exc_info for record in caplog.records)


async def test_bug_while_posting() -> None:
    """A job is answered again after a bug while posting."""
    runtime = Runtime(RuntimeError("boom"))
    await answered(Handler(b"x"), runtime)
    assert [job_id for job_id, _ in runtime.posted] == ["j", "j"]


async def test_end_of_the_worker_during_the_cleanup() -> None:
    """The job counts as answered: its result was posted before."""
    runtime = Runtime()
    cleaning = asyncio.Event()

    async def cleanup() -> None:
        cleaning.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(answered(Handler(b"x", cleanup=cleanup), runtime))
    await cleaning.wait()
    task.cancel()
    assert (await task).posted.is_accepted
    assert runtime.posted == [("j", b"x")]


async def test_a_bug_after_the_answer_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()

    async def cleanup() -> None:
        raise RuntimeError("boom")

    answer = await answered(Handler(b"x", cleanup=cleanup), runtime)
    assert runtime.posted == [("j", b"x")]
    assert answer.posted.is_accepted
    assert any(record.exc_info for record in caplog.records)
