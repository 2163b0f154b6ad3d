"""Lasting trouble is told once, then at growing intervals, and so is its end."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from cm_exec.runtime import trouble as trouble_module
from cm_exec.runtime.trouble import Trouble


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trouble_module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="cm_exec")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def test_the_first_failure_is_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    del clock
    Trouble("polling").happened("refused")
    assert told(caplog) == ["WARNING polling fails: refused; trying again"]


def test_the_same_failure_is_told_again_at_growing_intervals(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    trouble, start = Trouble("polling"), clock.now
    when = []
    for _ in range(2000):
        trouble.happened("refused")
        if told(caplog):
            when.append(clock.now - start)
        clock.now += 1
    pauses = [later - earlier for earlier, later in pairwise(when)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]


def test_another_failure_is_told_at_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("polling")
    for message in ("refused", "refused", "reset", "reset", "refused"):
        trouble.happened(message)
        clock.now += 0.1
    assert [line.split()[3] for line in told(caplog)] == ["refused;", "reset;", "refused;"]


def test_its_end_is_told_once_with_its_length(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("polling")
    trouble.happened("refused")
    clock.now += 12.34
    trouble.over()
    trouble.over()
    assert told(caplog)[1:] == ["INFO polling works again after 12.3 s"]


def test_after_its_end_all_starts_anew(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("polling")
    for _ in range(100):
        trouble.happened("refused")
        clock.now += 1
    trouble.over()
    told(caplog)
    trouble.happened("refused")
    clock.now += 10
    trouble.happened("refused")
    assert len(told(caplog)) == 2


def test_no_trouble_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    Trouble("polling").over()
    assert told(caplog) == []
