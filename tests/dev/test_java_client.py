"""A worker in Java on the plain API, as the official Java SDK is one: Java's client offers HTTP/2 with each request."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cm_exec.testing import ComputeModule, FunctionError, run_compute_module
from tests.support.tools import needs

pytestmark = needs("java", "javac")

WORKER = Path(__file__).parent / "workers" / "PlainApi.java"


@pytest.fixture(scope="module")
def module() -> Iterator[ComputeModule]:
    with run_compute_module(["java", str(WORKER)], concurrency=4) as running:
        yield running


def test_its_requests_arrive_with_their_bodies(module: ComputeModule) -> None:
    for number in range(5):
        assert module.call("echo", {"number": number, "text": "é"}) == {"number": number, "text": "é"}
    assert module.violations == []
    (schemas,) = module.runtime.schemas
    assert json.loads(schemas)[0]["functionName"] == "echo"


def test_a_large_result_arrives(module: ComputeModule) -> None:
    assert module.call("echo", "x" * 5_000_000) == "x" * 5_000_000


def test_its_errors_are_text(module: ComputeModule) -> None:
    with pytest.raises(FunctionError, match="Requested function not found"):
        module.call("unheard_of", 1)


def test_it_does_not_depend_on_the_fixed_address_of_the_restart_notification(module: ComputeModule) -> None:
    """It is built into the official SDK, which goes on without it."""
    assert module.call("echo", 1) == 1
    assert not module.runtime.restarts
