"""The life of a single-use process: each transition, and what no sequence of events can bring about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.job_state import TRANSITIONS, Action, JobState, Phase, ProcessEvent
from cm_exec.protocol.failure import Reason

DEADLINE, ENDED, EXITED, CLOSED, OUTPUT = "deadline", "ended", "exited", "closed", "output"
EVENTS = (DEADLINE, ENDED, EXITED, CLOSED, OUTPUT)


class Driven:
    """A JobState with the events that a process can cause: it exits once, and each pipe closes once."""

    def __init__(self, *events: str) -> None:
        self.state = JobState()
        self.actions: list[Action] = []
        self.armed_for: list[Phase] = [Phase.RUNNING]
        self._open_pipes = 2
        for event in events:
            self.happen(event)

    def happen(self, event: str) -> tuple[Action, ...]:
        state = self.state
        match event:
            case "deadline":
                actions = state.deadline()
            case "ended":
                actions = state.end(Reason.SHUTDOWN, "why")
            case "exited" if state.status is None:
                actions = state.exited(7)
            case "closed" if self._open_pipes:
                self._open_pipes -= 1
                actions = state.pipe_closed()
            case "output" if self._open_pipes:
                actions = state.output()
            case _:
                return ()
        self.actions += actions
        if Action.ARM in actions:
            self.armed_for.append(state.phase)
        return actions


@pytest.mark.parametrize(
    ("events", "state", "actions"),
    [
        ([], Phase.RUNNING, []),
        ([OUTPUT], Phase.RUNNING, []),
        ([CLOSED, CLOSED], Phase.RUNNING, []),
        ([DEADLINE], Phase.TERMINATING, [Action.TERMINATE, Action.ARM]),
        ([ENDED], Phase.TERMINATING, [Action.TERMINATE, Action.ARM]),
        ([EXITED], Phase.READING, [Action.ARM]),
        ([CLOSED, CLOSED, EXITED], Phase.OVER, []),
        ([EXITED, CLOSED], Phase.READING, [Action.ARM]),
        ([EXITED, CLOSED, CLOSED], Phase.OVER, [Action.ARM]),
        ([EXITED, OUTPUT], Phase.READING, [Action.ARM, Action.ARM]),
        ([EXITED, DEADLINE], Phase.OVER, [Action.ARM, Action.CUT]),
        ([EXITED, ENDED], Phase.OVER, [Action.ARM]),
        ([DEADLINE, ENDED], Phase.TERMINATING, [Action.TERMINATE, Action.ARM]),
        ([DEADLINE, EXITED], Phase.READING, [Action.TERMINATE, Action.ARM, Action.ARM]),
        ([DEADLINE, DEADLINE], Phase.KILLING, [Action.TERMINATE, Action.ARM, Action.KILL, Action.ARM]),
        ([DEADLINE] * 3, Phase.OVER, [Action.TERMINATE, Action.ARM, Action.KILL, Action.ARM]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None,
)
def test_transitions(events: list[str], state: Phase, actions: list[Action]) -> None:
    driven = Driven(*events)
    assert (driven.state.phase, driven.actions) == (state, actions)


def test_the_table_names_every_state_but_the_last() -> None:
    assert {state for state, _ in TRANSITIONS} == set(Phase) - {Phase.OVER}
    assert {event for _, event in TRANSITIONS} == set(ProcessEvent)


@pytest.mark.parametrize(
    ("events", "reason", "status"),
    [
        ([EXITED, CLOSED, CLOSED], None, 7),
        ([DEADLINE, EXITED, CLOSED, CLOSED], Reason.TIMEOUT, 7),
        ([DEADLINE, ENDED, EXITED], Reason.TIMEOUT, 7),
        ([ENDED, DEADLINE, EXITED], Reason.SHUTDOWN, 7),
        ([EXITED, ENDED], Reason.SHUTDOWN, 7),
        ([EXITED, DEADLINE, ENDED], None, 7),
        ([DEADLINE] * 3, Reason.TIMEOUT, None),
        ([DEADLINE] * 3 + [EXITED, ENDED], Reason.TIMEOUT, 7),
    ],
)
def test_the_first_reason_stays(events: list[str], reason: Reason | None, status: int | None) -> None:
    state = Driven(*events).state
    assert (state.reason, state.status) == (reason, status)
    assert state.detail == ("why" if reason is Reason.SHUTDOWN else "")


@given(st.lists(st.sampled_from(EVENTS)))
def test_any_sequence(events: list[str]) -> None:
    """No sequence of events leaves a process running or ends a job twice."""
    driven = Driven()
    for event in events:
        before, was_over = driven.state.phase, driven.state.is_over
        exited, reason = driven.state.status is not None, driven.state.reason
        actions = driven.happen(event)
        assert not (was_over and (actions or not driven.state.is_over)), "over is final"
        assert reason is None or driven.state.reason is reason, "the first reason stays"
        if exited:
            assert not {Action.TERMINATE, Action.KILL} & set(actions), "its process id may be another's"
        if driven.state.phase not in (before, Phase.OVER):
            assert Action.ARM in actions, "each new state has its deadline"
    state = driven.state
    if state.phase is Phase.RUNNING:
        assert (state.status, state.reason) == (None, None)
    if state.phase is Phase.READING:
        assert state.status == 7
    sent = [action for action in driven.actions if action in (Action.TERMINATE, Action.KILL)]
    assert sent == [Action.TERMINATE, Action.KILL][: len(sent)]
    if state.is_over and state.status is None:
        assert Action.KILL in sent, "only a process that SIGKILL does not end is given up"
    if state.reason is not None and state.status is None:
        assert sent, "whoever has a reason was asked to end"


@given(st.lists(st.sampled_from(EVENTS), max_size=10))
def test_deadlines_alone_end_every_job(events: list[str]) -> None:
    driven = Driven(*events)
    for _ in range(3):
        driven.happen(DEADLINE)
    assert driven.state.is_over
