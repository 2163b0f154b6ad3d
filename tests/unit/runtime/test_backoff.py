"""The delays between tries."""

from cm_exec.runtime.backoff import Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(0.2, 5.0, jitter=lambda: 0.0)
    assert [backoff.next() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_success_starts_anew() -> None:
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
