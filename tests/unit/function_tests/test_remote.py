"""The calls that tests make to a worker elsewhere."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cm_exec.config.load import parse_config
from cm_exec.function_tests import PreparedTest
from cm_exec.function_tests.remote import Outcome, RemoteWorker, run_remotely

if TYPE_CHECKING:
    from cm_exec.function_tests.runner import CompletedTest

CONFIG = """
[functions]
echo = "cat"
endless = { command = "cat", timeout = 0 }
[defaults]
timeout = 3
[[tests]]
function = "echo"
query = 1
result = 1
[[tests]]
function = "echo"
query = 2
result = 2
timeout = 0.5
[[tests]]
function = "endless"
query = 3
result = 3
"""


@pytest.mark.parametrize(("slots", "most"), [(None, 1), (3, 3)])
def test_calls(slots: int | None, most: int) -> None:
    """The worker, which knows a function's timeout, ends the job by itself; a test has no more jobs than slots."""
    timeouts: dict[bytes, float] = {}
    completed: list[CompletedTest] = []
    calling, seen = set[bytes](), set[int]()
    together = threading.Barrier(most, action=lambda: seen.add(len(calling)))

    def call(_: str, query: bytes, timeout: float, __: str | None) -> Outcome:
        calling.add(query)
        timeouts[query] = timeout
        together.wait(timeout=60)
        together.wait(timeout=60)
        calling.remove(query)
        return query, b""

    config = parse_config(CONFIG, path=Path("/srv/cm.toml"))
    cases = [PreparedTest(test=test, query=bytes(test.query), expected=test.expected) for test in config.tests]
    worker = RemoteWorker(call, slots=1)
    run_remotely(config.functions, cases, worker, slots=slots, fail_fast=False, on_end=completed.append)
    assert [test.problem for test in completed] == [None] * 3
    assert timeouts == {b"1": 13, b"2": 0.5, b"3": 0}
    assert most in seen
