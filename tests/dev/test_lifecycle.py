"""The states of a job, and the transitions between them."""

import pytest

from cm_exec.local_runtime.core.job import TRANSITIONS, Event, State, after

EXPECTED = {
    State.QUEUED: {
        Event.HANDED_OUT: State.RUNNING,
        Event.GIVEN_UP: State.FAILED,
        Event.ANSWERED: State.DONE,
        Event.ANSWERED_WITH_ERROR: State.FAILED,
    },
    State.RUNNING: {
        Event.PUT_BACK: State.QUEUED,
        Event.ANSWERED: State.DONE,
        Event.ANSWERED_WITH_ERROR: State.FAILED,
        Event.GIVEN_UP: State.FAILED,
        Event.DROPPED: State.LOST,
    },
    State.DONE: {},
    State.FAILED: {},
    State.LOST: {},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_transitions(state: State, event: Event) -> None:
    """Each event in each state leads to the expected state, or is impossible."""
    assert after(state, event) == EXPECTED[state].get(event)


def test_final_states() -> None:
    """The states without a way out, and only those, are final."""
    assert {state for state in State if state.final} == set(State) - {state for state, _ in TRANSITIONS}


def test_reachable_states() -> None:
    """Every state can be reached."""
    assert {State.QUEUED, *TRANSITIONS.values()} == set(State)
