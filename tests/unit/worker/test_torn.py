"""Jobs whose delivery broke off: handed out again in time, or answered with an error."""

from cm_exec.worker.torn import REDELIVERY, TornJobs


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_torn_job_is_overdue_once_after_its_time() -> None:
    clock = Clock()
    torn = TornJobs(clock)
    torn.add("a")
    clock.now = 1
    torn.add("b")
    clock.now = REDELIVERY - 0.1
    assert torn.overdue() == []
    clock.now = REDELIVERY
    assert torn.overdue() == ["a"]
    clock.now = REDELIVERY + 1
    assert torn.overdue() == ["b"]
    assert torn.overdue() == []


def test_a_job_that_came_after_all_is_never_overdue() -> None:
    clock = Clock()
    torn = TornJobs(clock)
    torn.add("a")
    torn.came("a")
    torn.came("never torn")
    torn.came(None)
    clock.now = 1000
    assert torn.overdue() == []


def test_a_job_that_breaks_off_again_and_again_is_counted_from_the_first_time() -> None:
    clock = Clock()
    torn = TornJobs(clock)
    for second in range(int(REDELIVERY) + 1):
        clock.now = second
        torn.add("a")
    assert torn.overdue() == ["a"]


def test_at_the_end_all_are_overdue() -> None:
    torn = TornJobs(Clock())
    torn.add("a")
    torn.add("b")
    assert torn.overdue(after=0) == ["a", "b"]


def test_the_clock_is_the_machine_s_by_default() -> None:
    torn = TornJobs()
    torn.add("a")
    assert torn.overdue() == []
    assert torn.overdue(after=0) == ["a"]
