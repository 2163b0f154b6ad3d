"""A process with the envelope: messages, and which of them are for a job that the process has."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.framing import DesyncError, Message, frame_message, message_reader, parse_message, wrap_query
from cm_exec.handlers.step_state import EnvelopeState
from cm_exec.protocol import Job

JOB = Job(job_id='a "job"', query_type="f", query=b'{"x": 1.10 }', user_id="ü", auth_header="Bearer a")


def test_a_query_is_passed_on_byte_for_byte() -> None:
    message = wrap_query(JOB, credentials=False)
    assert message == '{"jobId":"a \\"job\\"","queryType":"f","userId":"ü","query":{"x": 1.10 }}'.encode()


def test_credentials_are_added_on_request_only() -> None:
    members = json.loads(wrap_query(JOB, credentials=True))
    assert (members["authHeader"], members["temporaryCredentialsAuthToken"]) == ("Bearer a", None)
    assert not {"authHeader", "temporaryCredentialsAuthToken"} & set(json.loads(wrap_query(JOB, credentials=False)))


@given(st.text(), st.text() | st.none())
def test_any_id_and_user_come_through(job_id: str, user_id: str | None) -> None:
    members = json.loads(wrap_query(Job(job_id=job_id, query_type="f", query=b"1", user_id=user_id), credentials=False))
    assert (members["jobId"], members["userId"]) == (job_id, user_id)


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"ready": true}', Message("ready")),
        (b' {"result" : {"x": 1.10 } , "jobId":"\\u006a"} ', Message("result", "j", b'{"x": 1.10 }')),
        (b'{"jobId":"j","result":null}', Message("result", "j", b"null")),
        (b'{"jobId":"j","result":1,"more":2}', Message("result", "j", b"1")),
        (b'{"jobId":"j","error":"text"}', Message("error", "j", b'"text"')),
        (b'{"jobId":"j","error":{"a":[1]}}', Message("error", "j", b'{"a":[1]}')),
        (b'{"jobId":"j","chunk":[1]}', Message("chunk", "j", b"[1]")),
        (b'{"jobId":"j","end":true}', Message("end", "j")),
        (b'{"jobId":"j","log":"a\\n\\u00e9"}', Message("log", "j", "a\né".encode())),
        (b'{"jobId":"j","log":"\\udc80"}', Message("log", "j", b"?")),
        (b'{"jobId":"j","result":"\\udc80"}', Message("result", "j", b'"\\udc80"')),
        (b'{"error":%b,"jobId":"j"}' % DEEP, Message("error", "j", DEEP)),
        (b'{"jobId":"j","chunk":1,"end":false}', Message("chunk", "j", b"1")),
    ],
)
def test_messages(text: bytes, message: Message) -> None:
    assert parse_message(text) == message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"42",
        b"[1]",
        b"debug",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"result":1}',
        b'{"ready":false}',
        b'{"jobId":"j"}',
        b'{"jobId":7,"result":1}',
        b'{"jobId":"j","end":false}',
        b'{"jobId":"j","result":1} {}',
    ],
    ids=lambda text: repr(text[:30]),
)
def test_invalid_message(text: bytes) -> None:
    """A message of any other form is a desync."""
    with pytest.raises(DesyncError):
        parse_message(text)


def line(job_id: str, **members: object) -> bytes:
    return json.dumps({"jobId": job_id, **members}).encode() + b"\n"


def state_of(*job_ids: str) -> EnvelopeState:
    state = EnvelopeState(message_reader("lines"), 1000)
    for job_id in job_ids:
        state.begin(job_id)
    return state


def kinds(state: EnvelopeState, *lines: bytes) -> list[str]:
    return [f"{message.kind} {message.job_id}".strip() for text in lines for message in state.received(text)]


def test_results_in_any_order() -> None:
    """Results may arrive in any order, and together."""
    state = state_of("a", "b", "c")
    together = (
        line("c", result=1) + line("a", error="x") + line("b", log="l") + line("b", chunk=1) + line("b", end=True)
    )
    assert kinds(state, together) == ["result c", "error a", "log b", "chunk b", "end b"]
    assert (state.jobs, state.problem) == (set(), "")


AMBIGUOUS = "a message with more than one of result, error, chunk, end and log"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([line("a", result=1), line("a", result=2)], "an answer to a job that it does not have"),
        ([line("other", result=1)], "an answer to a job that it does not have"),
        ([line("other", log="x")], "an answer to a job that it does not have"),
        ([line("a", chunk=1), line("a", result=2)], "a result after chunks of the same job"),
        ([line("a", chunk=1), line("a", end=True), line("a", end=True)], "an answer to a job that it does not have"),
        ([b"debug\n"], "something that is not a message with the envelope"),
        ([b"{}\n"], "a message without a jobId"),
        ([b'{"jobId":"a"}\n'], "a jobId without a result"),
        ([b'{"jobId":"a","result":null,"error":"boom"}\n'], AMBIGUOUS),
        ([b'{"jobId":"a","chunk":1,"end":true}\n'], AMBIGUOUS),
        ([b"\n"], "an empty message"),
        ([line("a", log=5)], "a log that is not a text"),
        ([b'{"jobId":5,"result":1}\n'], "something that is not a message with the envelope"),
        ([line("a", result="x" * 2000)], "a message of more than 1000 bytes"),
        ([b"x" * 1001], "a message of more than 1000 bytes"),
    ],
)
def test_out_of_step(lines: list[bytes], problem: str) -> None:
    state = state_of("a", "b")
    kinds(state, *lines)
    assert state.problem == problem
    assert state.excerpt == lines[-1].strip()
    assert kinds(state, line("b", result=1)) == [], "nothing is taken from it any more"


def test_late_result_of_a_cancelled_job() -> None:
    """The late result of a cancelled job is dropped."""
    state = state_of("a", "b")
    kinds(state, line("a", chunk=1))
    state.cancel("a")
    assert state.cancelled == {"a"}
    assert kinds(state, line("a", chunk=2), line("a", log="l"), line("a", end=True)) == []
    assert (state.cancelled, state.problem) == (set(), "")
    assert kinds(state, line("b", result=1), line("a", result=1)) == ["result b"]
    assert state.problem


def test_cancel_after_the_result() -> None:
    """A job that has its result cannot be cancelled."""
    state = state_of("a")
    kinds(state, line("a", result=1))
    state.cancel("a")
    assert state.cancelled == set()


def test_job_id_after_a_cancelled_stream() -> None:
    """A job whose id belonged to a cancelled stream is a new job."""
    state = state_of("a")
    kinds(state, line("a", chunk=1))
    state.cancel("a")
    kinds(state, line("a", result=1))
    state.begin("a")
    assert kinds(state, line("a", result=2)) == ["result a"]
    assert state.problem == ""


ids = st.sampled_from("ab")
events = st.one_of(
    st.tuples(st.just("begin"), ids),
    st.tuples(st.just("cancel"), ids),
    st.tuples(st.sampled_from(["result", "error", "chunk", "end", "log"]), ids),
    st.just(("garbage", "")),
)


@given(st.lists(events, max_size=40), st.integers(1, 50))
def test_any_sequence(sequence: list[tuple[str, str]], piece: int) -> None:
    """No sequence answers a job twice or one that the process does not have; a model predicts each job's state."""
    state = state_of()
    model: dict[str, str] = {}
    chunked: set[str] = set()
    is_in_step = True
    for kind, job_id in sequence:
        if kind == "begin":
            if job_id not in model:
                state.begin(job_id)
                model[job_id] = "waiting"
                chunked.discard(job_id)
            continue
        if kind == "cancel":
            state.cancel(job_id)
            if model.get(job_id) == "waiting":
                model[job_id] = "cancelled"
            continue
        text = b"garbage\n" if kind == "garbage" else line(job_id, **{kind: True if kind == "end" else "x"})
        pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
        yielded = kinds(state, *pieces)
        status = model.get(job_id)
        is_in_step = (
            is_in_step and status is not None and not (kind == "result" and status == "waiting" and job_id in chunked)
        )
        assert bool(state.problem) is not is_in_step
        assert yielded == ([f"{kind} {job_id}"] if is_in_step and status == "waiting" else [])
        if kind == "chunk" and status == "waiting":
            chunked.add(job_id)
        if kind in ("result", "error", "end"):
            model.pop(job_id, None)


@given(
    st.lists(st.sampled_from("abc"), max_size=6, unique=True),
    st.integers(1, 30),
    st.sampled_from(["lines", "content-length"]),
)
def test_any_split(job_ids: list[str], piece: int, framing: str) -> None:
    """Any split of the bytes yields the same messages."""
    state = EnvelopeState(message_reader(framing), 1000)
    output = b""
    for job_id in job_ids:
        state.begin(job_id)
        output += frame_message(framing, line(job_id, result=[1]).strip())
    pieces = [output[at : at + piece] for at in range(0, len(output), piece)]
    messages = [message for text in pieces for message in state.received(text)]
    assert messages == [Message("result", job_id, b"[1]") for job_id in job_ids]
