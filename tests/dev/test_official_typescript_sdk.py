"""The official TypeScript SDK works against the local runtime; where it breaks the contract, the runtime says so."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import NoResultError
from cm_exec.local_runtime.core import State
from cm_exec.local_runtime.core.faults import ProtocolEndpoint
from cm_exec.local_runtime.core.worker_status import ViolationKind
from tests.support.official_sdks import kill, typescript_command, worker

LONG = 60.0
NUMBERS = b'{"x": 2, "y": 5}'


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=4, poll_wait=1, answer_grace=0.1) as running:
        yield running


@pytest.fixture
def sdk(runtime: LocalRuntime, tmp_path: Path) -> Iterator[LocalRuntime]:
    with worker(typescript_command(), runtime, tmp_path):
        _wait(lambda: bool(runtime.schemas))
        yield runtime


def test_start(sdk: LocalRuntime) -> None:
    """The SDK polls without a restart notification."""
    assert sdk.count(ProtocolEndpoint.POLL) >= 1
    assert sdk.restarts == []


def test_echo(sdk: LocalRuntime) -> None:
    result = sdk.submit("echo", b'{"a": [1, 2.5, "\\u00e9"]}').wait(LONG)
    assert json.loads(result.body) == {"a": [1, 2.5, "é"]}
    assert (result.streamed, result.failure) == (False, None)


def test_typed_function(sdk: LocalRuntime) -> None:
    """A typed function gets its arguments, and its schema is posted."""
    assert sdk.submit("add", NUMBERS).wait(LONG).body == b"7"
    schemas = {schema["functionName"]: schema for schema in json.loads(sdk.schemas[-1])}
    assert [given["name"] for given in schemas["add"]["inputs"]] == ["x", "y"]
    assert sdk.violations == []


def test_wrong_output_type(sdk: LocalRuntime) -> None:
    """A result of another type than declared is a protocol violation."""
    assert sdk.submit("notAnInteger", NUMBERS).wait(LONG).body == b'"five"'
    assert [violation.kind for violation in sdk.violations] == [ViolationKind.OUTPUT_TYPE]


def test_result_without_a_value(sdk: LocalRuntime) -> None:
    """A result without a value is an empty body."""
    assert sdk.submit("nothing", b"{}").wait(LONG).body == b""


def test_rejected_promise(sdk: LocalRuntime) -> None:
    """A listener that rejects fails its job."""
    call = sdk.submit("fail", b"{}")
    result = call.wait(LONG)
    assert result.failure is not None
    assert (result.failure.message, result.failure.reason) == ("Error: no such luck", None)
    assert call.wait_ended(0).state is State.FAILED


def test_stream(sdk: LocalRuntime) -> None:
    """A stream is chunked."""
    result = sdk.submit("count", NUMBERS).wait(LONG)
    assert (result.body, result.streamed) == (b"234", True)


def test_four_jobs_at_once(sdk: LocalRuntime) -> None:
    """Four jobs run at the same time."""
    calls = [sdk.submit("meet", b'{"jobs": 4}') for _ in range(4)]
    assert [call.wait(LONG).body for call in calls] == [b"4"] * 4


@pytest.mark.parametrize("function", ["unheardOf", "failAtOnce"])
def test_unanswered_job(sdk: LocalRuntime, function: str) -> None:
    """A job without a listener, or whose listener throws at once, never gets a result."""
    call = sdk.submit(function, b"{}", timeout=0.5)
    with pytest.raises(NoResultError):
        call.wait(LONG)
    _wait(lambda: bool(sdk.violations))
    assert [(violation.kind, violation.job_id) for violation in sdk.violations] == [
        (ViolationKind.UNANSWERED, call.job_id)
    ]


def test_failed_post(sdk: LocalRuntime) -> None:
    """The SDK replaces a good result with an error if the runtime refuses the first post."""
    sdk.submit("echo", b"1").wait(LONG)
    sdk.set_faults("result.500*1")
    result = sdk.submit("echo", b"2").wait(LONG)
    assert result.failure is not None
    assert result.failure.message == "AxiosError: Request failed with status code 500"


def test_crash(tmp_path: Path) -> None:
    """The slot of a job stays occupied after a crash, since the SDK sends no restart notification."""
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=1, poll_wait=0.2) as runtime:
        with worker(typescript_command(), runtime, tmp_path) as first:
            held = runtime.submit("hang", b"{}")
            _wait(lambda: runtime.jobs[0].outstanding)
            kill(first)
        polls = runtime.count(ProtocolEndpoint.POLL)
        with worker(typescript_command(), runtime, tmp_path):
            waiting = runtime.submit("echo", b"1")
            _wait(lambda: runtime.count(ProtocolEndpoint.POLL) >= polls + 5)
            assert not waiting.done
            assert runtime.worker_gone("the worker was killed") == [held.job_id]
            assert waiting.wait(LONG).body == b"1"
    assert held.wait_ended(0).state is State.LOST
    assert [(violation.kind, violation.job_id) for violation in runtime.violations] == [
        (ViolationKind.UNANSWERED, held.job_id)
    ]


def _wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
