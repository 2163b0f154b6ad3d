"""The jobs in hand: order, shares, ids, and threads that wait."""

import threading
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from cm_exec.protocol.job import Job, MalformedJobError
from cm_exec.worker.job_queue import Item, JobQueue

LONG = 30.0


def job(job_id: str, function: str = "f") -> Job:
    return Job(job_id=job_id, query_type=function, query=b"null")


def queue_of(*jobs: Item, **shares: int) -> JobQueue:
    queue = JobQueue(shares)
    for item in jobs:
        assert queue.put(item)
    return queue


def take(queue: JobQueue) -> Item:
    """A job that is there to be taken; a queue that would rather wait fails the test."""
    taken: list[Item | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()), daemon=True)
    thread.start()
    thread.join(LONG)
    assert taken, "the queue has no job to take"
    assert taken[0] is not None
    return taken[0]


def ids(*items: Item | None) -> list[str | None]:
    return [item.job_id if item else None for item in items]


class Takers:
    """Threads that take a job each and keep it."""

    def __init__(self, queue: JobQueue, number: int) -> None:
        self.taken: list[Item | None] = []
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._take, args=(queue,), daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _take(self, queue: JobQueue) -> None:
        item = queue.take()
        with self._changed:
            self.taken.append(item)
            self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= number, LONG), ids(*self.taken)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in self._threads)


def settled(takers: Takers) -> int:
    """How many have a job once nothing happens any more: the others wait on the queue's condition."""
    for thread in takers._threads:
        thread.join(0.05)
    return len(takers.taken)


def test_jobs_are_taken_in_order_of_arrival() -> None:
    queue = queue_of(job("1", "a"), job("2", "b"), job("3", "a"))
    assert ids(take(queue), take(queue), take(queue)) == ["1", "2", "3"]


def test_a_function_with_its_share_of_slots_is_passed_over_and_then_comes_first() -> None:
    queue = queue_of(job("1", "a"), job("2", "a"), job("3", "b"), a=1)
    first, third = take(queue), take(queue)
    assert ids(first, third) == ["1", "3"]
    queue.put(job("4", "b"))
    queue.done(first)
    assert ids(take(queue), take(queue)) == ["2", "4"]


def test_a_share_is_not_passed_however_many_slots_wait() -> None:
    queue = queue_of(*(job(str(n), "a") for n in range(5)), a=2)
    takers = Takers(queue, 5)
    takers.wait_for(2)
    assert settled(takers) == 2
    for done in range(1, 4):
        held = takers.taken[done - 1]
        assert held is not None
        queue.done(held)
        takers.wait_for(2 + done)
    takers.join()
    assert ids(*takers.taken) == ["0", "1", "2", "3", "4"]


def test_a_waiting_slot_gets_the_job_that_comes() -> None:
    queue = JobQueue({})
    takers = Takers(queue, 3)
    for job_id in "abc":
        queue.put(job(job_id))
    takers.join()
    assert sorted(map(str, ids(*takers.taken))) == ["a", "b", "c"]


def test_the_same_id_is_not_taken_in_twice_until_it_is_answered() -> None:
    queue = queue_of(job("1"))
    assert not queue.put(job("1"))
    assert not queue.put(MalformedJobError("broken", job_id="1"))
    running = take(queue)
    assert not queue.put(job("1"))
    assert queue.in_hand == 1
    queue.done(running)
    assert queue.put(job("1"))


def test_the_remains_of_a_job_are_queued_like_a_job() -> None:
    remains = MalformedJobError("no query", job_id="1", query_type="a")
    queue = queue_of(remains, job("2", "a"), a=1)
    assert take(queue) is remains
    assert queue.in_hand == 2
    queue.done(remains)
    assert ids(take(queue)) == ["2"]


def test_remains_without_an_id_never_collide() -> None:
    queue = queue_of(MalformedJobError("one"), MalformedJobError("two"))
    one, two = take(queue), take(queue)
    queue.done(one)
    queue.done(two)
    assert queue.in_hand == 0


def test_a_closed_queue_gives_out_what_waits_and_then_none() -> None:
    queue = queue_of(job("1"))
    queue.close()
    assert ids(take(queue)) == ["1"]
    assert queue.take() is None
    assert queue.take() is None


def test_closing_wakes_all_that_wait() -> None:
    queue = JobQueue({})
    takers = Takers(queue, 3)
    queue.close()
    takers.join()
    assert takers.taken == [None] * 3


def test_a_closed_queue_keeps_a_slot_for_a_job_that_waits_for_its_share() -> None:
    queue = queue_of(job("1", "a"), job("2", "a"), a=1)
    running = take(queue)
    queue.close()
    takers = Takers(queue, 2)
    assert settled(takers) == 0
    queue.done(running)
    takers.join()
    assert sorted(map(str, ids(*takers.taken))) == ["2", "None"]


def test_jobs_in_hand_wait_or_run() -> None:
    queue = queue_of(job("1", "a"), job("2", "a"), job("3", "b"))
    assert queue.in_hand == 3
    taken = take(queue)
    assert queue.in_hand == 3
    queue.done(taken)
    assert queue.in_hand == 2


def drained_by(queue: JobQueue, threads: int, seen: Callable[[Item, int], None]) -> None:
    """Take all jobs with several threads; `seen` gets each with how many of its function run."""
    running: dict[str, int] = {}
    lock = threading.Lock()

    def serve() -> None:
        while (item := queue.take()) is not None:
            with lock:
                running[item.query_type] = running.get(item.query_type, 0) + 1
                seen(item, running[item.query_type])
            with lock:
                running[item.query_type] -= 1
            queue.done(item)

    slots = [threading.Thread(target=serve, daemon=True) for _ in range(threads)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join(LONG)
    assert not any(slot.is_alive() for slot in slots), "a slot waits for ever"


functions = st.lists(st.sampled_from("abc"), max_size=30)


@given(functions, st.integers(1, 4), st.dictionaries(st.sampled_from("ab"), st.integers(1, 2)))
def test_every_job_is_taken_once_and_no_share_is_passed(names: list[str], threads: int, shares: dict[str, int]) -> None:
    queue = queue_of(*(job(str(n), name) for n, name in enumerate(names)), **shares)
    queue.close()
    seen: list[str | None] = []

    def note(item: Item, running: int) -> None:
        seen.append(item.job_id)
        assert running <= shares.get(item.query_type, threads)

    drained_by(queue, threads, note)
    assert sorted(map(str, seen)) == sorted(str(n) for n in range(len(names)))
    assert queue.in_hand == 0
