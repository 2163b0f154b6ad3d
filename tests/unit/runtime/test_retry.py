"""When to try again, and how a lasting failure is logged."""

from itertools import pairwise

import pytest

from cm_exec.runtime.retry import Backoff, FailureLog


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(0.2, 5.0, jitter=lambda: 0.0)
    assert [backoff.next() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_success_starts_over() -> None:
    backoff = Backoff(0.2, 5.0, jitter=lambda: 0.0)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 0.2


def test_jitter_takes_away_half_at_most() -> None:
    backoff = Backoff(1.0, 1.0, jitter=iter([0.0, 0.5, 1.0]).__next__)
    assert [backoff.next() for _ in range(3)] == [1.0, 0.75, 0.5]


def test_delays_differ_by_default() -> None:
    backoff = Backoff(1.0, 1.0)
    delays = {backoff.next() for _ in range(50)}
    assert len(delays) > 10
    assert all(0.5 <= delay <= 1.0 for delay in delays)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failures(clock: Clock) -> FailureLog:
    return FailureLog("polling", clock)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="cm_exec")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def test_the_first_failure_is_logged(failures: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    failures.failed("refused")
    assert logged(caplog) == ["WARNING polling fails: refused; trying again"]


def test_intervals_of_a_repeated_failure(failures: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The same failure is logged again at growing intervals."""
    when = []
    for _ in range(2000):
        failures.failed("refused")
        if logged(caplog):
            when.append(clock.now)
        clock.now += 1
    assert [later - earlier for earlier, later in pairwise(when)] == [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]


def test_another_failure_is_logged_at_once(
    failures: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for message in ("refused", "refused", "reset", "reset", "refused"):
        failures.failed(message)
        clock.now += 0.1
    assert [line.split()[3] for line in logged(caplog)] == ["refused;", "reset;", "refused;"]


def test_recovery(failures: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The recovery is logged once with its time."""
    failures.failed("refused")
    clock.now += 12.34
    failures.recovered()
    failures.recovered()
    assert logged(caplog)[1:] == ["INFO polling works again after 12.3 s"]


def test_intervals_after_a_recovery(failures: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The intervals start small again after a recovery."""
    for _ in range(100):
        failures.failed("refused")
        clock.now += 1
    failures.recovered()
    logged(caplog)
    failures.failed("refused")
    clock.now += 10
    failures.failed("refused")
    assert len(logged(caplog)) == 2


def test_without_a_failure_nothing_is_logged(failures: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    failures.recovered()
    assert logged(caplog) == []
