"""The table of a job's life, pair by pair."""

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
def test_each_event_in_each_state(state: State, event: Event) -> None:
    assert after(state, event) == EXPECTED[state].get(event)


def test_final_is_what_nothing_leads_out_of() -> None:
    assert {state for state in State if state.final} == set(State) - {state for state, _ in TRANSITIONS}


def test_every_state_is_reached() -> None:
    assert {State.QUEUED, *TRANSITIONS.values()} == set(State)
