"""The error result, as callers get it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.protocol.failure import STDERR_TAIL, Failure, Reason, error_body


def members(failure: Failure, *, job_id: str = "j", query_type: str = "f") -> dict[str, Any]:
    read = json.loads(error_body(failure, job_id=job_id, query_type=query_type))
    assert isinstance(read, dict)
    return read


def stderr_of(stderr: bytes) -> Any:
    return members(Failure(reason=Reason.EXIT, message="m", stderr=stderr))["stderr"]


def test_an_error_result_has_four_members_always() -> None:
    failure = Failure(reason=Reason.TIMEOUT, message='it took "too" long')
    assert members(failure, job_id="j-é", query_type="") == {
        "error": 'it took "too" long',
        "reason": "timeout",
        "jobId": "j-é",
        "queryType": "",
    }


def test_optional_members() -> None:
    """An error has the exit code, the signal and stderr where they apply."""
    failure = Failure(reason=Reason.EXIT, message="m", exit_code=0, signal="SIGKILL", stderr=b"why\n")
    added = {"exitCode": 0, "signal": "SIGKILL", "stderr": "why\n"}
    assert members(failure) == {"error": "m", "reason": "exit", "jobId": "j", "queryType": "f", **added}


def test_reasons() -> None:
    """The reasons are the documented ones."""
    assert {reason.value for reason in Reason} == {
        "exit",
        "handler",
        "http_status",
        "signal",
        "timeout",
        "output_limit",
        "invalid_output",
        "not_started",
        "unknown_function",
        "malformed_job",
        "shutdown",
        "result_rejected",
        "out_of_step",
        "invalid_query",
    }


def test_stderr_is_cut_to_its_end() -> None:
    assert stderr_of(b"a" * STDERR_TAIL) == "a" * STDERR_TAIL
    assert stderr_of(b"the beginning" + b"a" * STDERR_TAIL) == "a" * STDERR_TAIL


@pytest.mark.parametrize("character", ["é", "€", "😀"])
@pytest.mark.parametrize("offset", range(5))
def test_character_at_the_cut(character: str, offset: int) -> None:
    """A character that the cut would split is left out."""
    tail = stderr_of((character * STDERR_TAIL + "x" * offset).encode())
    assert set(tail) <= {character, "x"}
    assert STDERR_TAIL - 4 < len(tail.encode()) <= STDERR_TAIL


def test_short_stderr() -> None:
    """Short stderr is complete, even if its first byte is invalid."""
    assert stderr_of(b"\x80\xffwhy") == "\ufffd\ufffdwhy"


@given(st.binary(min_size=1, max_size=STDERR_TAIL * 2))
def test_any_stderr_makes_valid_json(stderr: bytes) -> None:
    assert isinstance(stderr_of(stderr), str)
