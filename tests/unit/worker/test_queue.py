"""The outstanding jobs: order, slots, limits, ids; and those whose delivery was truncated."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cm_exec.protocol import Job, MalformedJobError
from cm_exec.worker.queue import JobQueue, QueuedJob, TruncatedJobs


def job(job_id: str, function: str = "f") -> Job:
    return Job(job_id=job_id, query_type=function, query=b"null")


def queue_of(*jobs: QueuedJob, slots: int = 100, **limits: int) -> JobQueue:
    queue = JobQueue(slots, limits)
    for item in jobs:
        queue.put(item)
    return queue


def take_all(queue: JobQueue) -> list[QueuedJob]:
    return list(iter(queue.take, None))


def ids(items: list[QueuedJob]) -> list[str | None]:
    return [item.job_id for item in items]


def test_jobs_are_taken_in_order_of_arrival() -> None:
    assert ids(take_all(queue_of(job("1", "a"), job("2", "b"), job("3", "a")))) == ["1", "2", "3"]


def test_no_more_jobs_run_than_there_are_slots() -> None:
    queue = queue_of(*(job(str(n)) for n in range(5)), slots=2)
    running = take_all(queue)
    assert ids(running) == ["0", "1"]
    queue.done(running[0], answered=True)
    assert ids(take_all(queue)) == ["2"]


def test_concurrency_limit() -> None:
    """Jobs of a function at its limit wait, and come first afterwards."""
    queue = queue_of(job("1", "a"), job("2", "a"), job("3", "b"), a=1)
    first, third = take_all(queue)
    assert (first.job_id, third.job_id) == ("1", "3")
    queue.put(job("4", "b"))
    queue.done(first, answered=True)
    assert ids(take_all(queue)) == ["2", "4"]


def test_outstanding_job() -> None:
    """A job is outstanding until it is done."""
    queue = queue_of(job("1"))
    assert queue.is_outstanding("1")
    (running,) = take_all(queue)
    assert queue.is_outstanding("1")
    queue.done(running, answered=False)
    assert not queue.is_outstanding("1")


def test_answered_job() -> None:
    """Only a job whose result was accepted counts as answered."""
    queue = queue_of(job("1"), job("2"))
    one, two = take_all(queue)
    queue.done(one, answered=True)
    queue.done(two, answered=False)
    assert (queue.was_answered("1"), queue.was_answered("2")) == (True, False)


def test_remembered_jobs() -> None:
    """The last ten thousand answered jobs are remembered."""
    queue = JobQueue(1, {})
    for number in range(10_001):
        queue.put(job(str(number)))
        queue.done(queue.take() or job(""), answered=True)
    assert [queue.was_answered(str(n)) for n in (0, 1, 10_000)] == [False, True, True]


def test_malformed_job() -> None:
    """A malformed job is queued like a job."""
    remains = MalformedJobError("no query", job_id="1", query_type="a")
    queue = queue_of(remains, job("2", "a"), a=1)
    assert take_all(queue) == [remains]
    assert queue.outstanding == 2
    queue.done(remains, answered=True)
    assert ids(take_all(queue)) == ["2"]


def test_remains_without_an_id_never_collide() -> None:
    queue = queue_of(MalformedJobError("one"), MalformedJobError("two"))
    for item in take_all(queue):
        queue.done(item, answered=True)
    assert queue.outstanding == 0


def test_forgotten_names() -> None:
    """The names of functions are forgotten with their jobs."""
    queue = queue_of(*(job(str(n), f"unknown-{n}") for n in range(100)))
    for item in take_all(queue):
        queue.done(item, answered=True)
    assert (queue._admitted, queue._waiting) == ({}, {})


def test_without_limits() -> None:
    """All jobs may run once the limits are lifted, the oldest first, and the queue is empty at their end."""
    queue = queue_of(job("1", "a"), job("2", "a"), job("3", "b"), slots=1, a=1)
    first = queue.take()
    assert first is not None
    queue.lift_limits()
    queue.put(job("4", "a"))
    others = take_all(queue)
    assert [item.job_id for item in others] == ["2", "3", "4"]
    for item in (first, *others):
        queue.done(item, answered=True)
    assert (queue.outstanding, queue._admitted, queue._waiting) == (0, {}, {})


class Queue(RuleBasedStateMachine):
    """Jobs come, are taken and are done in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = {"a": 1, "b": 2}
        self.queue = JobQueue(3, self.limits)
        self.waiting: list[QueuedJob] = []
        self.running: list[QueuedJob] = []
        self.number = 0

    @rule(function=st.sampled_from("abc"))
    def put(self, function: str) -> None:
        self.number += 1
        item = job(str(self.number), function)
        self.queue.put(item)
        self.waiting.append(item)

    @rule()
    def take(self) -> None:
        expected = next((item for item in self.waiting if self.may_run(item)), None)
        assert self.queue.take() is expected
        if expected is not None:
            self.waiting.remove(expected)
            self.running.append(expected)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.running))
        self.running.remove(item)
        self.queue.done(item, answered=True)

    def may_run(self, item: QueuedJob) -> bool:
        """Return the oldest job of a function below its limit if a slot is free."""
        running = Counter(other.query_type for other in self.running)[item.query_type]
        return len(self.running) < 3 and running < self.limits.get(item.query_type, 3)

    @invariant()
    def counts(self) -> None:
        assert self.queue.outstanding == len(self.waiting) + len(self.running)
        assert all(self.queue.is_outstanding(item.job_id or "") for item in [*self.waiting, *self.running])


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=50, stateful_step_count=40)


def test_overdue_truncated_job() -> None:
    """A truncated job is overdue once, after its time."""
    truncated = TruncatedJobs(10)
    truncated.add("a", 0)
    truncated.add("b", 1)
    assert truncated.overdue(9.9) == []
    assert truncated.overdue(10) == ["a"]
    assert truncated.overdue(11) == ["b"]
    assert truncated.overdue(float("inf")) == []


def test_redelivered_job() -> None:
    """A truncated job that was redelivered is never overdue."""
    truncated = TruncatedJobs(10)
    truncated.add("a", 0)
    for job_id in ("a", "never truncated", None):
        truncated.redelivered(job_id)
    assert truncated.overdue(1000) == []


def test_repeatedly_truncated_job() -> None:
    """The time of a repeatedly truncated job counts from the first time."""
    truncated = TruncatedJobs(10)
    for second in range(11):
        truncated.add("a", second)
    assert truncated.overdue(10) == ["a"]


@given(st.lists(st.sampled_from("abc")))
def test_at_the_end_all_are_overdue(job_ids: list[str]) -> None:
    truncated = TruncatedJobs(10)
    for job_id in job_ids:
        truncated.add(job_id, 0)
    assert sorted(truncated.overdue(float("inf"))) == sorted(set(job_ids))
