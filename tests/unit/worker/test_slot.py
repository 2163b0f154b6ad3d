"""One job from the queue to its answer: exactly one, whatever the handler and the runtime do."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.handler import Outcome, Result, Stream
from cm_exec.handlers.spool import MEMORY_LIMIT, LiveSpool, Spool
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.job import Job, MalformedJobError
from cm_exec.runtime.connection import Body
from cm_exec.runtime.reporter import Delivered, Delivery, Reporter
from cm_exec.worker.job_queue import Item
from cm_exec.worker.slot import Slot

JOB = Job(job_id="j", query_type="double", query=b"21", auth_header="Bearer secret")
FAILURE = Failure(reason=Reason.EXIT, message="it failed", exit_code=3)


class Runtime(Reporter):
    """Keeps what is posted, and answers with what a test says, then by accepting."""

    def __init__(self, *deliveries: Delivery | Exception) -> None:
        self._deliveries = list(deliveries)
        self.posted: list[tuple[str, Body]] = []
        self.streamed: list[tuple[str, bytes]] = []

    def deliver(self, job_id: str, body: Body) -> Delivered:
        self.posted.append((job_id, body))
        decided = self._deliveries.pop(0) if self._deliveries else Delivery.ACCEPTED
        if isinstance(decided, Exception):
            raise decided
        return Delivered(decided, "the runtime answers 499")

    def stream(self, job_id: str, chunks: Iterator[bytes]) -> Delivered | None:
        decided = self._deliveries.pop(0) if self._deliveries else Delivery.ACCEPTED
        self.streamed.append((job_id, b"".join(chunks)))
        return Delivered(decided, "the runtime answers 499") if isinstance(decided, Delivery) else None

    def error(self, number: int = -1) -> dict[str, Any]:
        job_id, body = self.posted[number]
        assert isinstance(body, bytes)
        members = json.loads(body)
        assert isinstance(members, dict)
        assert members["jobId"] == job_id
        return members


class Handler:
    """A handler whose outcome a test says."""

    def __init__(
        self, outcome: Outcome, *, stderr: bytes = b"", first: Exception | None = None, last: Exception | None = None
    ) -> None:
        self._outcome = outcome
        self._stderr = stderr
        self._first, self._last = first, last
        self.left = False

    def open(self) -> None:
        """Nothing is started ahead."""

    def close(self) -> None:
        """Nothing waits."""

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        assert job is JOB
        if self._first:
            raise self._first
        stderr(self._stderr)
        yield self._outcome
        self.left = True
        if self._last:
            raise self._last


def result(content: bytes) -> Result:
    spool = Spool(None)
    for start in range(0, len(content), 100_000):
        spool.write(content[start : start + 100_000])
    return Result(spool)


def answered(
    handler: Handler, runtime: Runtime, *, item: Item = JOB, stopping: Callable[[], bool] = lambda: False
) -> Slot:
    slot = Slot({"double": handler}, runtime, stopping)
    slot.answer(item.job_id or "", item)
    return slot


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="cm_exec")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if isinstance(record.msg, str)]


def test_a_result_is_posted_as_it_is_and_logged_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    handler, runtime = Handler(result(b"forty-two")), Runtime()
    slot = answered(handler, runtime)
    assert runtime.posted == [("j", b"forty-two")]
    assert handler.left
    (line,) = lines(caplog)
    assert line.startswith("INFO ok, ")
    assert line.endswith(" ms, 9 bytes")
    assert getattr(caplog.records[0], "tags", None) == {"job_id": "j", "function": "double"}
    assert slot.lost == 0


def test_a_large_result_is_posted_from_its_spool() -> None:
    large = result(bytes(MEMORY_LIMIT + 1))
    runtime = Runtime()
    answered(Handler(large), runtime)
    assert runtime.posted == [("j", large.spool)]


def test_a_failure_is_posted_as_an_error_result(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    answered(Handler(FAILURE), runtime)
    expected = {"error": "it failed", "reason": "exit", "jobId": "j", "queryType": "double", "exitCode": 3}
    assert [runtime.error(n) for n in range(len(runtime.posted))] == [expected]
    assert lines(caplog)[0].startswith("WARNING failed: exit: it failed, ")


def test_an_unknown_function_is_told_with_the_nearest_or_all_names() -> None:
    runtime, handler = Runtime(), Handler(FAILURE)
    answered(handler, runtime, item=Job(job_id="j", query_type="duoble", query=b"1"))
    assert runtime.error()["reason"] == "unknown_function"
    assert "did you mean 'double'?" in runtime.error()["error"]
    answered(handler, runtime, item=Job(job_id="j", query_type="zzz", query=b"1"))
    assert "it has 'double'" in runtime.error()["error"]
    assert not handler.left


def test_the_remains_of_a_job_are_answered() -> None:
    runtime = Runtime()
    answered(Handler(FAILURE), runtime, item=MalformedJobError("no query", job_id="x", query_type="double"))
    assert runtime.error() == {"error": "no query", "reason": "malformed_job", "jobId": "x", "queryType": "double"}


def test_no_command_is_started_while_the_worker_shuts_down() -> None:
    runtime, handler = Runtime(), Handler(FAILURE)
    answered(handler, runtime, stopping=lambda: True)
    assert runtime.error()["reason"] == "shutdown"
    assert not handler.left


def test_a_refused_result_is_replaced_by_a_small_error() -> None:
    runtime = Runtime(Delivery.REFUSED)
    answered(Handler(result(b"too much")), runtime)
    assert runtime.posted[0] == ("j", b"too much")
    assert len(runtime.posted) == 2
    assert runtime.error()["reason"] == "result_rejected"
    assert "8 bytes" in runtime.error()["error"]
    assert "499" in runtime.error()["error"]


@pytest.mark.parametrize(("outcome", "posts"), [(FAILURE, 1), (result(b"x"), 2)], ids=["error", "result"])
def test_a_refused_error_is_not_posted_again(outcome: Outcome, posts: int) -> None:
    runtime = Runtime(Delivery.REFUSED, Delivery.REFUSED)
    answered(Handler(outcome), runtime)
    assert len(runtime.posted) == posts


@pytest.mark.parametrize("delivery", [Delivery.GONE, Delivery.GIVEN_UP])
def test_a_result_that_nobody_takes_is_never_overwritten(delivery: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime(delivery)
    slot = answered(Handler(result(b"x")), runtime)
    assert runtime.posted == [("j", b"x")]
    assert f"result {delivery.name.lower()}" in lines(caplog)[0]
    assert slot.lost == (delivery is Delivery.GIVEN_UP)


def test_stderr_goes_to_the_log_tagged_and_without_tokens(caplog: pytest.LogCaptureFixture) -> None:
    answered(Handler(result(b""), stderr=b"I know Bearer secret\nunfinished"), Runtime())
    relayed = [record for record in caplog.records if isinstance(record.msg, bytes)]
    assert [record.msg for record in relayed] == [b"I know [redacted]\n", b"unfinished"]
    assert all(getattr(r, "tags", None) == {"job_id": "j", "function": "double"} for r in relayed)


def stream(content: bytes, end: Failure | None = None) -> Stream:
    """A stream that has come to its end, well or as `end`."""
    spool = LiveSpool(None)
    spool.write(content)
    spool.end(well=end is None)
    return Stream(spool, lambda: end or Result(spool))


def test_a_stream_is_posted_as_it_comes_and_not_again() -> None:
    runtime = Runtime()
    answered(Handler(stream(b"as it comes")), runtime)
    assert runtime.streamed == [("j", b"as it comes")]
    assert runtime.posted == []


def test_a_stream_that_came_to_nothing_is_posted_whole() -> None:
    runtime = Runtime(LookupError())
    answered(Handler(stream(b"as it comes")), runtime)
    assert runtime.posted == [("j", b"as it comes")]


def test_a_stream_that_ends_badly_is_followed_by_an_error() -> None:
    runtime = Runtime()
    answered(Handler(stream(b"half", FAILURE)), runtime)
    assert runtime.streamed == []
    assert [runtime.error(n)["reason"] for n in range(len(runtime.posted))] == ["exit"]


def test_a_stream_that_is_refused_is_followed_by_an_error() -> None:
    runtime = Runtime(Delivery.REFUSED)
    answered(Handler(stream(b"too much")), runtime)
    assert [runtime.error(n)["reason"] for n in range(len(runtime.posted))] == ["result_rejected"]
    assert "8 bytes" in runtime.error()["error"]


def test_a_stream_that_nobody_waits_for_is_not_posted_again() -> None:
    runtime = Runtime(Delivery.GONE)
    answered(Handler(stream(b"late")), runtime)
    assert runtime.posted == []


def test_a_bug_before_the_answer_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    answered(Handler(FAILURE, first=RuntimeError("boom")), runtime)
    assert len(runtime.posted) == 1
    assert "bug" in runtime.error()["error"]
    assert "boom" not in runtime.error()["error"]
    assert any(record.exc_info for record in caplog.records)


def test_a_bug_while_posting_is_answered_once_more() -> None:
    runtime = Runtime(RuntimeError("boom"))
    answered(Handler(result(b"x")), runtime)
    assert [job_id for job_id, _ in runtime.posted] == ["j", "j"]


def test_a_bug_after_the_answer_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    answered(Handler(result(b"x"), last=RuntimeError("boom")), runtime)
    assert runtime.posted == [("j", b"x")]
    assert any(record.exc_info for record in caplog.records)
