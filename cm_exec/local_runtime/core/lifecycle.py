"""The life of a job in the local runtime: its states, what can happen to it, and one table of what follows."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job stands, as its caller sees it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Answered with an error result, or given up by its caller."""
    LOST = "lost"
    """The worker was restarted, or went away, while it had the job."""

    @property
    def final(self) -> bool:
        """Whether the caller has its answer."""
        return self not in _OPEN


_OPEN: Final = frozenset({State.QUEUED, State.RUNNING})


class Event(StrEnum):
    """What happens to a job."""

    HANDED_OUT = "handed_out"
    PUT_BACK = "put_back"
    """The poll that it was given to was gone before it arrived."""
    ANSWERED = "answered"
    ANSWERED_WITH_ERROR = "answered_with_error"
    GIVEN_UP = "given_up"
    """The caller's time-out."""
    DROPPED = "dropped"
    """A restart notification, or the end of the worker."""


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.QUEUED, Event.HANDED_OUT): State.RUNNING,
        (State.QUEUED, Event.GIVEN_UP): State.FAILED,
        (State.RUNNING, Event.PUT_BACK): State.QUEUED,
        (State.RUNNING, Event.ANSWERED): State.DONE,
        (State.RUNNING, Event.ANSWERED_WITH_ERROR): State.FAILED,
        (State.RUNNING, Event.GIVEN_UP): State.FAILED,
        (State.RUNNING, Event.DROPPED): State.LOST,
        # A worker that lost its connection after a job was read in full may answer it all the same.
        (State.QUEUED, Event.ANSWERED): State.DONE,
        (State.QUEUED, Event.ANSWERED_WITH_ERROR): State.FAILED,
    }
)
"""A pair that is not here changes nothing: a final state stays, and the ledger reports what was wrong."""


def after(state: State, event: Event) -> State | None:
    """Return the next state, None if the event has no effect in this state."""
    return TRANSITIONS.get((state, event))
