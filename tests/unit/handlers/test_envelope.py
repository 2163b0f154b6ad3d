"""The envelope around a query, and the one that a result may come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.handlers.envelope import unwrap, wrap
from cm_exec.handlers.framing import OutOfStepError
from cm_exec.protocol.job import Job

JOB = Job(
    job_id='a "job"',
    query_type="f",
    query=b'{"x": 1.10 }',
    user_id="ü",
    auth_header="Bearer a",
    temporary_credentials_auth_token="t",
)


def test_a_query_is_wrapped_byte_for_byte() -> None:
    wrapped = wrap(JOB, credentials=False)
    assert wrapped == '{"jobId":"a \\"job\\"","queryType":"f","userId":"ü","query":{"x": 1.10 }}'.encode()


def test_credentials_are_in_the_envelope_only_where_asked_for() -> None:
    members = json.loads(wrap(JOB, credentials=True))
    assert members["authHeader"] == "Bearer a"
    assert members["temporaryCredentialsAuthToken"] == "t"
    assert members["query"] == {"x": 1.10}
    assert not {"authHeader", "temporaryCredentialsAuthToken"} & set(json.loads(wrap(JOB, credentials=False)))


def test_what_the_runtime_did_not_say_is_null() -> None:
    members = json.loads(wrap(Job(job_id="j", query_type="f", query=b"1"), credentials=True))
    assert members == {
        "jobId": "j",
        "queryType": "f",
        "userId": None,
        "authHeader": None,
        "temporaryCredentialsAuthToken": None,
        "query": 1,
    }


@given(st.text(), st.text() | st.none())
def test_any_id_and_user_come_through(job_id: str, user_id: str | None) -> None:
    members = json.loads(wrap(Job(job_id=job_id, query_type="f", query=b"null", user_id=user_id), credentials=False))
    assert (members["jobId"], members["userId"]) == (job_id, user_id)


def test_an_enveloped_result_is_unwrapped_byte_for_byte() -> None:
    assert unwrap(b' {"result" : {"x": 1.10 } , "jobId":"j"} ', "j") == b'{"x": 1.10 }'
    assert unwrap(b'{"jobId":"\\u006a","result":null}', "j") == b"null"


def test_half_a_surrogate_pair_hides_no_envelope() -> None:
    assert unwrap(b' {"result":"\\ud83d", "jobId":"\\u006a"} ', "j") == b'"\\ud83d"'
    with pytest.raises(OutOfStepError):
        unwrap(b'{"jobId":"another","result":"\\ud83d"}', "j")
    for other in (
        b'{"jobId":7,"result":"\\ud83d"}',
        b'{"result":"\\ud83d"}',
        b'["\\ud83d"]',
        b'{"jobId":"j","x":"\\ud83d"}',
    ):
        assert unwrap(other, "j") == other


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"42",
        b'"text"',
        b"[1]",
        b"{}",
        b"\xff\x00 no JSON",
        b'{"result":1}',
        b'{"jobId":"j"}',
        b'{"jobId":"j","result":1,"more":2}',
        b'{"jobId":7,"result":1}',
        b"[" * 100_000,
    ],
    ids=lambda text: text[:30].decode(errors="replace"),
)
def test_any_other_result_stays_as_it_is(result: bytes) -> None:
    assert unwrap(result, "j") == result


@pytest.mark.parametrize("result", [b'{"jobId":"k","result":1}', b'{"jobId":"k"}', b'{"jobId":"k","result":1,"x":2}'])
def test_a_result_that_names_another_job_is_out_of_step(result: bytes) -> None:
    with pytest.raises(OutOfStepError, match="another job"):
        unwrap(result, "j")


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5), st.text())
def test_what_an_envelope_holds_comes_out_of_it(value: object, job_id: str) -> None:
    enveloped = json.dumps({"jobId": job_id, "result": value}).encode()
    assert unwrap(enveloped, job_id) == json.dumps(value).encode()
