"""A process without the envelope: in step, or out of it for good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.framing import frame_message, message_reader
from cm_exec.handlers.step_state import FIRST_PART, Step, StepState


def state_of(framing: str = "lines") -> StepState:
    return StepState(message_reader(framing))


def given_job() -> StepState:
    """Return the state of a process with a whole query."""
    state = state_of()
    assert state.begin(b"query\n", is_waiting=True) == b"query\n"
    return state


def test_query_of_a_waiting_process() -> None:
    """A process that waits gets the whole query."""
    state = given_job()
    assert (state.step, state.was_given) == (Step.SENT, True)


@pytest.mark.parametrize("size", [1, 2, FIRST_PART, FIRST_PART + 1, 3 * FIRST_PART])
def test_query_of_a_busy_process(size: int) -> None:
    """A process that may be busy does not get the last byte of its query."""
    frame = bytes(size)
    state = state_of()
    first = state.begin(frame, is_waiting=False)
    assert len(first) == min(size - 1, FIRST_PART)
    assert (state.step, state.was_given) == (Step.OFFERED, False)
    assert first + state.ready() == frame
    assert (state.step, state.was_given) == (Step.SENT, True)
    assert state.ready() == b""


def test_result_of_a_waiting_process() -> None:
    """A result is complete with its line, and accepted when the process waits for input."""
    state = given_job()
    assert (state.received(b"resu"), state.step) == (b"resu", Step.SENT)
    assert state.progress == "4 bytes and no line end"
    assert (state.received(b"lt\n"), state.step) == (b"lt", Step.COMPLETE)
    state.accept(is_waiting=True)
    assert state.step is Step.ACCEPTED
    assert state.begin(b"next\n", is_waiting=False) == b"next\n", "it was seen to wait"


def test_query_of_a_silent_process() -> None:
    """A process that was silent, but not seen to wait, gets only the first part of its next query."""
    state = given_job()
    state.received(b"1\n")
    state.accept(is_waiting=False)
    assert state.begin(b"next\n", is_waiting=False) == b"next"


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (["out x"], "output that nobody asked for"),
        (["offer", "out x"], "output before it received a query"),
        (["offer", "out quer", "out y"], "output before it received a query"),
        (["offer", "out query", "out y"], "output before it received a query"),
        (["send", "out 1\n2"], "more than one message as a result"),
        (["send", "out 1\n", "out 2"], "more than one message as a result"),
        (["send", "out 1\n", "accept", "out 2"], "output that nobody asked for"),
        (["send", "out 1", "ended"], "1 bytes and no line end, and ended"),
        (["send", "out 1\n", "reject"], "a bad line"),
        (["send", "out 1\n", "accept", "offer", "out 2"], "output before it received a query"),
    ],
)
def test_desync(steps: list[str], problem: str) -> None:
    """Output at the wrong time is a desync with its reason."""
    state = state_of()
    for step in steps:
        do(state, step)
    assert (state.step, state.problem) == (Step.OUT_OF_STEP, problem)


def do(state: StepState, step: str) -> None:
    match step.partition(" "):
        case ("offer", _, _):
            state.begin(b"query\n", is_waiting=False)
        case ("send", _, _):
            state.begin(b"query\n", is_waiting=True)
        case ("ready", _, _):
            state.ready()
        case ("out", _, text):
            state.received(text.encode())
        case ("accept", _, _):
            state.accept(is_waiting=False)
        case ("reject", _, _):
            state.reject("a bad line")
        case ("ended", _, _):
            state.ended()


def test_frame_without_a_header() -> None:
    """Output that is not a header is a desync."""
    state = state_of("content-length")
    state.begin(frame_message("content-length", b"1"), is_waiting=True)
    state.received(b"debug\n")
    assert (state.step, state.problem) == (Step.OUT_OF_STEP, "no Content-Length header before its result")


def test_echo_of_a_partial_query() -> None:
    """The echo of a query's first part is not a result."""
    state = state_of()
    first = state.begin(b"query\n", is_waiting=False)
    assert state.received(first) == first
    assert [state.step] == [Step.OFFERED]
    assert state.received(state.ready()) == b""
    assert [state.step] == [Step.COMPLETE]


def test_incomplete_output() -> None:
    """Incomplete output is not accepted."""
    state = given_job()
    state.received(b"1")
    state.accept(is_waiting=True)
    assert state.step is Step.SENT


@pytest.mark.parametrize(("output", "step"), [(b"", Step.SENT), (b"1\n", Step.ACCEPTED), (b"1", Step.OUT_OF_STEP)])
def test_exit(output: bytes, step: Step) -> None:
    """The exit of a process completes only a complete result."""
    state = given_job()
    if output:
        state.received(output)
    state.ended()
    assert state.step is step


STEPS = ["offer", "send", "ready", "accept", "ended", "out a", "out \n", "out b\n", "out quer", "out query"]


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_no_answer_is_accepted_out_of_step(steps: list[str]) -> None:
    """What is accepted is one whole message, of which each byte came after the process had the whole query.

    The only exception is an echo of the first part. Jobs begin as the caller begins them: one after the other.
    """
    state = state_of()
    output, result, in_step, echoes = b"", b"", True, 0
    for step in steps:
        if step in ("offer", "send"):
            if state.step not in (Step.IDLE, Step.ACCEPTED):
                continue
            output, result, echoes = b"", b"", 0
        was = state.step
        if step.startswith("out "):
            chunk = step.removeprefix("out ").encode()
            output += chunk
            if was is Step.OFFERED and chunk == b"query" and not echoes:
                echoes += 1
            elif was not in (Step.SENT, Step.COMPLETE):
                in_step = False
            result += state.received(chunk)
        else:
            do(state, step)
        if state.step is Step.ACCEPTED:
            assert in_step
            assert state.was_given
            assert output == result + b"\n", "exactly one message"
        if was is Step.OUT_OF_STEP or not in_step:
            assert state.step is Step.OUT_OF_STEP, "out of step is for good"


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=6), st.booleans())
def test_a_well_behaved_process_stays_in_step(results: list[bytes], is_waiting: bool) -> None:
    state = state_of()
    for result in (r.replace(b"\n", b"").replace(b"\r", b"") or b"1" for r in results):
        state.begin(b"query\n", is_waiting=is_waiting)
        state.ready()
        content = b"".join(state.received(bytes([byte])) for byte in result + b"\n")
        state.accept(is_waiting=is_waiting)
        assert (content, state.step) == (result, Step.ACCEPTED)
