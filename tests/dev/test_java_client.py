"""A worker in Java on the plain API, like the official Java SDK: its client offers HTTP/2 with each request."""

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


def test_requests(module: ComputeModule) -> None:
    """The requests of the client arrive with their bodies."""
    for number in range(5):
        assert module.call("echo", {"number": number, "text": "é"}) == {"number": number, "text": "é"}
    assert module.violations == []
    (schemas,) = module.runtime.schemas
    assert json.loads(schemas)[0]["functionName"] == "echo"


def test_large_result(module: ComputeModule) -> None:
    """A large result arrives."""
    assert module.call("echo", "x" * 5_000_000) == "x" * 5_000_000


def test_error(module: ComputeModule) -> None:
    """The errors of the client are text."""
    with pytest.raises(FunctionError, match="Requested function not found"):
        module.call("unheard_of", 1)


def test_restart_notification(module: ComputeModule) -> None:
    """The client works, as the official SDK does, if its restart notification does not arrive."""
    assert module.call("echo", 1) == 1
    assert not module.runtime.restarts
