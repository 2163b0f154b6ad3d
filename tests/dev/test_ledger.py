"""The ledger without a runtime: queue, slots, results, timeouts and protocol violations."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cm_exec.local_runtime.core import (
    Change,
    Evicted,
    Limits,
    PostedResult,
    PostOutcome,
    RuntimeJob,
    State,
    Submission,
)
from cm_exec.local_runtime.core.ledger import RESULT_TYPE, Ledger
from cm_exec.local_runtime.core.result import MediaKind, MediaType, ReportedFailure
from cm_exec.local_runtime.core.worker_status import ProtocolViolation, ViolationKind

TEXT = MediaType(MediaKind.TEXT, "text/plain", ".txt")
GOOD = PostedResult(size=2, content_type=RESULT_TYPE, streamed=False, media=TEXT)
ERROR = PostedResult(
    size=2, content_type=RESULT_TYPE, streamed=False, media=TEXT, failure=ReportedFailure(message="no luck")
)


class Books:
    """A ledger, and the changes that it has published."""

    def __init__(self, *, slots: int | None = 1, history: int = 1000, history_bytes: int = 1_000_000) -> None:
        self.published: list[Change] = []
        limits = Limits(slots=slots, history=history, history_bytes=history_bytes, answer_grace=5)
        self.ledger = Ledger(limits=limits, publish=self.published.append)

    def submit(self, *job_ids: str, timeout: float | None = None, query: bytes = b"1", now: float = 0) -> None:
        for job_id in job_ids:
            self.ledger.submit(job_id, Submission(function="f", query=query, timeout=timeout), now)

    def hand_out(self, now: float = 1) -> str | None:
        job = self.ledger.hand_out(now)
        return None if job is None else job.job_id

    @property
    def violations(self) -> list[ViolationKind]:
        return [change.kind for change in self.published if isinstance(change, ProtocolViolation)]

    def state(self, job_id: str) -> State:
        return self.ledger.jobs[job_id].state


def test_slots() -> None:
    """Jobs are sent in order of arrival, and no more than there are slots."""
    books = Books(slots=2)
    books.submit("a", "b", "c")
    assert [books.hand_out(), books.hand_out(), books.hand_out()] == ["a", "b", None]
    assert books.ledger.answer("a", GOOD, 2) is PostOutcome.ACCEPTED
    assert books.hand_out() == "c"


def test_no_limit() -> None:
    """Without a limit, all jobs are sent."""
    books = Books(slots=None)
    books.submit("a", "b", "c")
    assert [books.hand_out() for _ in range(4)] == ["a", "b", "c", None]


def test_undelivered_job() -> None:
    """A job that did not arrive is the first to be sent again."""
    books = Books()
    books.submit("a", "b")
    books.hand_out()
    books.ledger.put_back("a")
    assert (books.state("a"), books.ledger.outstanding) == (State.QUEUED, ())
    assert books.hand_out() == "a"
    assert books.ledger.jobs["a"].attempts == 2


@pytest.mark.parametrize(("answer", "state"), [(GOOD, State.DONE), (ERROR, State.FAILED)])
def test_result(answer: PostedResult, state: State) -> None:
    """A result ends its job."""
    books = Books()
    books.submit("a")
    books.hand_out()
    books.ledger.answer("a", answer, 3)
    job = books.ledger.jobs["a"]
    assert (job.state, job.ended, job.answer, job.outstanding) == (state, 3, answer, False)
    assert books.violations == []


def test_result_of_a_requeued_job() -> None:
    """A worker may post the result of a job that was put back into the queue."""
    books = Books()
    books.submit("a")
    books.hand_out()
    books.ledger.put_back("a")
    assert books.ledger.answer("a", GOOD, 2) is PostOutcome.ACCEPTED
    assert books.hand_out() is None


def test_unknown_job() -> None:
    """A result for an unknown job is a protocol violation."""
    books = Books()
    assert books.ledger.answer("x", GOOD, 1) is PostOutcome.UNKNOWN
    assert books.violations == [ViolationKind.UNKNOWN_JOB]


def test_second_result() -> None:
    """The first result of a job is kept, and a second one changes nothing."""
    books = Books()
    books.submit("a")
    books.hand_out()
    books.ledger.answer("a", GOOD, 1)
    assert books.ledger.answer("a", ERROR, 2) is PostOutcome.REPEATED
    assert (books.state("a"), books.ledger.jobs["a"].answer) == (State.DONE, GOOD)
    assert books.violations == [ViolationKind.ANSWERED_TWICE]


def test_timed_out_job() -> None:
    """A job keeps its slot after its timeout until its late result arrives."""
    books = Books()
    books.submit("a", timeout=10)
    books.submit("b")
    books.hand_out(now=1)
    books.ledger.tick(9.9)
    assert books.state("a") is State.RUNNING
    books.ledger.tick(10)
    assert (books.state("a"), books.hand_out(11)) == (State.FAILED, None)
    assert books.ledger.answer("a", GOOD, 12) is PostOutcome.LATE
    assert (books.state("a"), books.ledger.jobs["a"].answer, books.hand_out(13)) == (State.FAILED, GOOD, "b")
    assert books.violations == [ViolationKind.LATE]


def test_unanswered_job() -> None:
    """A job without a result some seconds after its timeout counts as unanswered."""
    books = Books()
    books.submit("a", timeout=10)
    books.hand_out()
    books.ledger.tick(10)
    assert books.ledger.next_deadline() == 15
    books.ledger.tick(14.9)
    assert books.violations == []
    books.ledger.tick(15)
    assert books.violations == [ViolationKind.UNANSWERED]


def test_timeout_in_the_queue() -> None:
    """A job that times out in the queue leaves the queue."""
    books = Books()
    books.submit("a", timeout=1)
    books.submit("b")
    books.ledger.tick(1)
    assert (books.state("a"), books.hand_out(2)) == (State.FAILED, "b")
    books.ledger.tick(100)
    assert books.violations == []


def test_incoming_result() -> None:
    """A job does not time out while its result arrives."""
    books = Books()
    books.submit("a", timeout=10)
    books.hand_out()
    books.ledger.answer_began("a", 1)
    books.ledger.tick(10)
    assert books.state("a") is State.RUNNING
    books.ledger.answer_broke("a", 3)
    books.ledger.tick(20)
    assert books.state("a") is State.FAILED


def test_restart() -> None:
    """A restart drops the outstanding jobs, and only those."""
    books = Books(slots=3)
    books.submit("done", "timed-out", "running", "queued")
    for _ in range(3):
        books.hand_out()
    books.ledger.answer("done", GOOD, 2)
    books.ledger.give_up("timed-out", 2, "no patience")
    assert books.ledger.drop_outstanding(3, "restart") == ["timed-out", "running"]
    assert [books.state(j) for j in ("done", "timed-out", "running", "queued")] == [
        State.DONE,
        State.FAILED,
        State.LOST,
        State.QUEUED,
    ]
    assert books.ledger.answer("running", GOOD, 4) is PostOutcome.DROPPED
    assert books.violations == [ViolationKind.LATE]
    assert books.hand_out(5) == "queued"


def test_end() -> None:
    """The jobs that are outstanding at the end are unanswered."""
    books = Books(slots=None)
    books.submit("a", "b", "c")
    books.hand_out()
    books.hand_out()
    books.ledger.answer("a", GOOD, 1)
    books.ledger.close(2)
    assert [(change.kind, change.job_id) for change in books.published if isinstance(change, ProtocolViolation)] == [
        (ViolationKind.UNANSWERED, "b")
    ]


@pytest.mark.parametrize("content_type", [None, "application/json"])
def test_wrong_content_type(content_type: str | None) -> None:
    """A wrong content type is a protocol violation."""
    books = Books()
    books.submit("a")
    books.hand_out()
    books.ledger.answer("a", PostedResult(size=2, content_type=content_type, streamed=False, media=TEXT), 2)
    assert books.violations == [ViolationKind.CONTENT_TYPE]


def test_wrong_output_type() -> None:
    """A result of another type than declared is a protocol violation."""
    books = Books()
    books.submit("a")
    books.hand_out()
    wrong = PostedResult(size=2, content_type=RESULT_TYPE, streamed=False, media=TEXT, mismatch="the result is null")
    books.ledger.answer("a", wrong, 2)
    assert books.violations == [ViolationKind.OUTPUT_TYPE]


def test_history() -> None:
    """The oldest completed jobs are evicted."""
    books = Books(history=2)
    for job_id in "abcd":
        books.submit(job_id)
        books.hand_out()
        books.ledger.answer(job_id, GOOD, 1)
    assert list(books.ledger.jobs) == ["c", "d"]
    assert [change.job_id for change in books.published if isinstance(change, Evicted)] == ["a", "b"]
    assert books.ledger.counts[State.DONE] == 4


def test_large_queries() -> None:
    """Jobs with large queries are evicted sooner."""
    books = Books(history_bytes=100)
    for job_id in "abc":
        books.submit(job_id, query=b"1" * 60)
        books.hand_out()
        books.ledger.answer(job_id, GOOD, 1)
    assert list(books.ledger.jobs) == ["c"]


def test_history_of_outstanding_jobs() -> None:
    """An outstanding job is not evicted."""
    books = Books(slots=None, history=1)
    books.submit("held", timeout=1)
    books.hand_out()
    books.ledger.tick(1)
    for job_id in "abc":
        books.submit(job_id)
        books.hand_out()
        books.ledger.answer(job_id, GOOD, 2)
    assert "held" in books.ledger.jobs
    assert books.ledger.answer("held", GOOD, 3) is PostOutcome.LATE


def test_timers() -> None:
    """Nothing is due for completed jobs."""
    books = Books()
    for number in range(3):
        books.submit(str(number), timeout=300)
        books.hand_out()
        books.ledger.answer(str(number), GOOD, 1)
    assert books.ledger.next_deadline() is None


def test_order_of_the_list() -> None:
    """The list begins with the oldest job."""
    books = Books()
    books.submit("a", "b", "c")
    assert [(job.job_id, job.number) for job in books.ledger.jobs.values()] == [("a", 1), ("b", 2), ("c", 3)]


class AnyOrder(RuleBasedStateMachine):
    """Check that the ledger is consistent after any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.taken: set[str] = set()
        self.ended: dict[str, State] = {}
        self.ledger = Ledger(limits=Limits(slots=3, history=5), publish=self.note)

    def note(self, change: Change) -> None:
        if isinstance(change, RuntimeJob) and change.state.final:
            assert self.ended.setdefault(change.job_id, change.state) is change.state, "a final state changed"

    @rule(timeout=st.one_of(st.none(), st.floats(0.1, 20)))
    def submit(self, timeout: float | None) -> None:
        self.count += 1
        self.ledger.submit(f"job-{self.count}", Submission(function="f", query=b"1", timeout=timeout), self.now)

    @rule()
    def hand_out(self) -> None:
        job = self.ledger.hand_out(self.now)
        if job is not None:
            assert job.job_id not in self.taken, "handed out twice"
            self.taken.add(job.job_id)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), answer=st.sampled_from([GOOD, ERROR]))
    def answer(self, data: st.DataObject, answer: PostedResult) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.taken)))
        self.ledger.answer(job_id, answer, self.now)
        self.taken.discard(job_id)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.taken)))
        self.ledger.put_back(job_id)
        self.taken.discard(job_id)

    @rule()
    def restart(self) -> None:
        assert set(self.ledger.drop_outstanding(self.now, "restart")) == self.taken
        self.taken.clear()

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.tick(self.now)

    @invariant()
    def the_books_agree(self) -> None:
        jobs = self.ledger.jobs.values()
        counts = self.ledger.counts
        assert set(self.ledger.outstanding) == self.taken == {job.job_id for job in jobs if job.outstanding}
        assert len(self.taken) <= 3
        assert counts[State.QUEUED] == sum(job.state is State.QUEUED for job in jobs)
        assert counts[State.RUNNING] == sum(job.state is State.RUNNING for job in jobs)
        assert sum(counts.values()) == self.count
        assert sum(job.state.final and not job.outstanding for job in jobs) <= 5


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=60)
