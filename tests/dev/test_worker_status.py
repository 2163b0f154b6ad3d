"""The state of a worker, derived from its polls."""

import pytest

from cm_exec.local_runtime.core.worker_status import PollWatch, WorkerState


def polled() -> PollWatch:
    """Return a watch that has seen one poll, at the time 0."""
    watch = PollWatch(poll_timeout=10)
    watch.began(0)
    watch.ended(0)
    return watch


def test_no_poll() -> None:
    """A worker that has never polled is absent and not overdue."""
    watch = PollWatch()
    assert (watch.state(100, 0), watch.deadline(), watch.overdue(100)) == (WorkerState.ABSENT, None, False)


def test_open_poll() -> None:
    """An open poll is never overdue."""
    watch = PollWatch()
    watch.began(0)
    assert (watch.state(1000, 0), watch.deadline()) == (WorkerState.READY, None)


@pytest.mark.parametrize(
    ("now", "outstanding", "state"),
    [(1.9, 0, WorkerState.READY), (2.1, 1, WorkerState.BUSY), (2.1, 0, WorkerState.SILENT)],
)
def test_after_the_last_poll(now: float, outstanding: int, state: WorkerState) -> None:
    """The time since the last poll and the outstanding jobs decide on the state."""
    assert polled().state(now, outstanding) is state


def test_silence() -> None:
    """Silence is reported once until the next poll."""
    watch = polled()
    assert [watch.overdue(9.9), watch.overdue(10), watch.overdue(11)] == [False, True, False]
    watch.began(20)
    watch.ended(20)
    assert [watch.deadline(), watch.overdue(30)] == [30, True]


def test_ended_worker() -> None:
    """A worker that is known to have ended is not overdue."""
    watch = polled()
    watch.forget()
    assert (watch.state(100, 0), watch.overdue(100)) == (WorkerState.ABSENT, False)


def test_late_end_of_a_poll() -> None:
    """The end of a poll of an ended worker changes nothing."""
    watch = PollWatch(poll_timeout=10)
    watch.began(0)
    watch.forget()
    watch.ended(1)
    assert (watch.state(100, 0), watch.overdue(100)) == (WorkerState.ABSENT, False)
