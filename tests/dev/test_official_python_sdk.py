"""The official Python SDK works against the local runtime, and where it breaks the contract, the runtime says so."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import NoResultError
from cm_exec.local_runtime.core import State
from cm_exec.local_runtime.core.worker_status import ViolationKind
from tests.support.official_sdks import kill, python_command, worker

LONG = 60.0
NUMBERS = b'{"x": 2, "y": 5}'


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=4, answer_grace=0.1) as running:
        yield running


@pytest.fixture
def sdk(runtime: LocalRuntime, tmp_path: Path) -> Iterator[LocalRuntime]:
    with worker(python_command(), runtime, tmp_path):
        runtime.wait_for_poll(LONG)
        yield runtime


def test_start(sdk: LocalRuntime) -> None:
    """The SDK posts its schemas, then notifies the runtime of its start."""
    assert [request.endpoint.value for request in sdk.requests][:2] == ["schemas", "restart"]
    assert [restart.dropped for restart in sdk.restarts] == [()]


def test_echo(sdk: LocalRuntime) -> None:
    result = sdk.submit("echo", b'{"a": [1, 2.5, "\\u00e9"]}').wait(LONG)
    assert json.loads(result.body) == {"a": [1, 2.5, "é"]}
    assert (result.content_type, result.streamed, result.failure) == ("application/octet-stream", False, None)
    assert sdk.violations == []


def test_context(sdk: LocalRuntime) -> None:
    """The function gets the context of the job."""
    call = sdk.submit("whoami", b"{}", user_id="u", auth_header="Bearer a", temporary_credentials_auth_token="t")
    assert json.loads(call.wait(LONG).body) == {
        "jobId": call.job_id,
        "userId": "u",
        "authHeader": "Bearer a",
        "tempCredsAuthToken": "t",
    }


def test_typed_function(sdk: LocalRuntime) -> None:
    """A typed function gets its arguments, and its schema is posted."""
    assert sdk.submit("add", NUMBERS).wait(LONG).body == b"7"
    schemas = {schema["functionName"]: schema for schema in json.loads(sdk.schemas[-1])}
    assert [given["name"] for given in schemas["add"]["inputs"]] == ["x", "y"]
    assert schemas["add"]["output"] == {"type": "single", "single": {"dataType": {"type": "integer", "integer": {}}}}
    assert sdk.violations == []


def test_wrong_output_type(sdk: LocalRuntime) -> None:
    """A result of another type than declared is a protocol violation."""
    assert sdk.submit("not_an_integer", NUMBERS).wait(LONG).body == b'"five"'
    assert sdk.submit("not_a_number", NUMBERS).wait(LONG).body == b"NaN"
    assert [(violation.kind, violation.function) for violation in sdk.violations] == [
        (ViolationKind.OUTPUT_TYPE, "not_an_integer"),
        (ViolationKind.OUTPUT_TYPE, "not_a_number"),
    ]


def test_exception(sdk: LocalRuntime) -> None:
    """An exception fails the job."""
    call = sdk.submit("fail", b"{}")
    result = call.wait(LONG)
    assert result.failure is not None
    assert result.failure.message == "no such luck"
    assert call.wait_ended(0).state is State.FAILED
    assert sdk.violations == []


def test_unknown_function(sdk: LocalRuntime) -> None:
    """The job of an unknown function fails."""
    result = sdk.submit("unheard_of", b"{}").wait(LONG)
    assert result.failure is not None
    assert result.failure.message == "Unknown query type"


def test_stream(sdk: LocalRuntime) -> None:
    """A stream is chunked, and has no delimiters."""
    result = sdk.submit("count", NUMBERS).wait(LONG)
    assert (result.body, result.streamed) == (b"234", True)
    assert sdk.violations == []


def test_aborted_stream(sdk: LocalRuntime) -> None:
    """A stream that breaks off is a protocol violation, and its data are lost."""
    result = sdk.submit("break_off", NUMBERS).wait(LONG)
    assert (result.body, result.failure) == (b"", None)  # the SDK posts what is left of a spent generator
    assert [violation.kind for violation in sdk.violations] == [ViolationKind.TRUNCATED]


def test_four_jobs_at_once(sdk: LocalRuntime, tmp_path: Path) -> None:
    """Four jobs run at the same time."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    query = json.dumps({"folder": str(meeting), "jobs": 4}).encode()
    calls = [sdk.submit("meet", query) for _ in range(4)]
    assert [call.wait(LONG).body for call in calls] == [b"4"] * 4


def test_killed_process(sdk: LocalRuntime) -> None:
    """A job whose process is killed never gets a result."""
    call = sdk.submit("die", b"{}", timeout=0.5)
    with pytest.raises(NoResultError):
        call.wait(LONG)
    _wait_for_breach(sdk)
    assert [(violation.kind, violation.job_id) for violation in sdk.violations] == [
        (ViolationKind.UNANSWERED, call.job_id)
    ]
    assert [job.outstanding for job in sdk.jobs] == [True]


def test_restart(runtime: LocalRuntime, tmp_path: Path) -> None:
    """A restart drops the outstanding jobs."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    query = json.dumps({"folder": str(meeting), "jobs": 2}).encode()
    with worker(python_command(), runtime, tmp_path) as first:
        call = runtime.submit("meet", query)
        while not list(meeting.iterdir()):
            time.sleep(0.01)
        kill(first)
    with worker(python_command(), runtime, tmp_path):
        assert runtime.submit("echo", b"1").wait(LONG).body == b"1"
    assert call.wait_ended(0).state is State.LOST
    assert [restart.dropped for restart in runtime.restarts] == [(), (call.job_id,)]


def _wait_for_breach(runtime: LocalRuntime) -> None:
    deadline = time.monotonic() + LONG
    while not runtime.violations and time.monotonic() < deadline:
        time.sleep(0.02)
