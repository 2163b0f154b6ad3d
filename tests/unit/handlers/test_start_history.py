"""When jobs wait for another start of a service, and when they are refused."""

from itertools import pairwise

from cm_exec.handlers.service_state import StartHistory
from cm_exec.protocol.failure import Failure, Reason


def why(number: int) -> Failure:
    return Failure(reason=Reason.NOT_STARTED, message=f"start {number}")


def failed_starts(starts: StartHistory, number: int, *, at: float = 100.0) -> list[str | None]:
    """Let starts fail one after another, a second each; return the refusal after each."""
    refusals: list[str | None] = []
    for start in range(number):
        starts.ended(why(start), began=at + start, now=at + start + 1)
        refusals.append(None if starts.refusal is None else starts.refusal.message)
    return refusals


def test_three_starts() -> None:
    """A service that was never ready is started three times."""
    assert failed_starts(StartHistory(300), 4) == [None, None, "start 2", "start 3"]


def test_a_service_that_was_ready_has_five() -> None:
    starts = StartHistory(300)
    starts.became_ready()
    assert failed_starts(starts, 5) == [None, None, None, None, "start 4"]


def test_success_resets_the_count() -> None:
    """A successful start ends the refusal and resets the count."""
    starts = StartHistory(300)
    failed_starts(starts, 3)
    starts.became_ready()
    assert starts.refusal is None
    assert failed_starts(starts, 5, at=200) == [None, None, None, None, "start 4"]


def test_simultaneous_starts() -> None:
    """Processes that start together are one start."""
    starts = StartHistory(300)
    for _ in range(16):
        starts.ended(why(0), began=100, now=101)
    assert (starts.failed_starts, starts.refusal, starts.pause) == (1, None, 0.2)


def test_jobs_wait_for_start_timeout_at_most() -> None:
    starts = StartHistory(10)
    assert failed_starts(starts, 1) == [None]
    starts.ended(why(1), began=102, now=110)
    assert starts.refusal == why(1)
    once = StartHistory(10)
    once.ended(why(0), began=100, now=110)
    assert once.refusal == why(0)
    without_limit = StartHistory(0)
    without_limit.ended(why(0), began=100, now=100_000)
    assert without_limit.refusal is None


def test_pauses() -> None:
    """Pauses double up to half a minute until a process has served jobs."""
    starts = StartHistory(300)
    pauses = []
    for start in range(12):
        starts.ended(None, began=start, now=start)
        pauses.append(starts.pause)
    assert all(later == min(2 * earlier, 30) for earlier, later in pairwise(pauses))
    assert (starts.refusal, pauses[-1]) == (None, 30)
    starts.became_ready()
    assert starts.pause == 30
    starts.reset()
    assert starts.pause < pauses[0]


def test_a_command_that_cannot_be_started() -> None:
    """Such a start has failed, but no job waits for the next one."""
    starts = StartHistory(300)
    starts.cannot_start(100)
    assert (starts.has_failed, starts.failed_starts, starts.refusal, starts.pause) == (True, 0, None, 0.2)
    starts.became_ready()
    assert not starts.has_failed
