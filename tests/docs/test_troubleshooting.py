"""The page on troubleshooting quotes real lines of the program, and all lines of a worker."""

import errno
import os
import re
import signal
from typing import Final

import pytest

from cm_exec.protocol.failure import Reason
from tests.support import responses
from tests.support.documents import ROOT, blocks
from tests.support.messages import Message, is_written, worker_s_messages
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

PAGE: Final = ROOT / "docs" / "troubleshooting.md"
LINES: Final = [line for block in blocks(PAGE) if block.language == "text" for line in block.text.splitlines()]
VALUES: Final = frozenset(
    {
        "https://localhost:8945",
        "cm.toml",
        "MODULE_AUTH_TOKEN",
        "DEFAULT_CA_PATH",
        "CONNECTION_TO_RUNTIME",
        "CONNECTIONS_TO_OTHER_PODS_CA_PATH",
        "GET_JOB_URI",
        "GET_JOB_URI and POST_RESULT_URI",
        "MAX_CONCURRENT_TASKS",
        *(sign.name for sign in signal.Signals),
        *(os.strerror(number) for number in errno.errorcode),
        *(os.strerror(number).lower() for number in errno.errorcode),
    }
)
"""The placeholder of a value in a line."""


@pytest.mark.parametrize("line", LINES)
def test_quoted_lines(line: str) -> None:
    """The program writes each line that the page quotes."""
    assert is_written(line, VALUES)


@pytest.mark.parametrize(
    "line", ["polling for work fails: …; trying again", "failed: exit: the command of '…' was late"]
)
def test_foreign_line(line: str) -> None:
    """A line that the program never writes is noticed."""
    assert not is_written(line, VALUES)


@pytest.mark.parametrize("message", sorted(worker_s_messages()))
def test_messages(message: Message) -> None:
    """The page explains every warning and error of the worker."""
    form = re.compile(".+".join(map(re.escape, message)))
    assert any(form.search(line) for line in LINES)


@pytest.mark.parametrize("reason", Reason)
def test_reasons(reason: Reason) -> None:
    """The page explains every reason."""
    assert any(line.startswith(f"failed: {reason}: ") for line in LINES)


def is_explained(text: str) -> bool:
    return any(re.search(".*".join(map(re.escape, line.split("…"))), text) for line in LINES)


TROUBLE: Final = {
    "exits": function("exits", "exit 3"),
    "killed": function("killed", "kill -9 $$"),
    "late": function("late", "sleep 60", timeout=0.2),
    "floods": function("floods", "yes", max_output=1000),
    "no_json": function("no_json", "echo hello", output="json"),
    "missing": function("missing", ["no-such-program"]),
    "two_lines": function("two_lines", "read -r query; echo 1; echo 2; sleep 60", mode="persistent"),
}


def test_lines_of_a_failing_worker(harness: WorkerHarness) -> None:
    """The page explains every line that a worker in trouble writes."""
    polls = (responses.answer(503), responses.answer(401), responses.garbage, responses.reset_before_response)
    harness.runtime.script(Endpoint.JOB, *polls)
    worker = harness.start(function("fine", ["cat"]) + "".join(TROUBLE.values()))
    for name in (*TROUBLE, "unknown"):
        harness.runtime.call(name)
    harness.runtime.script(Endpoint.RESULT, responses.answer(503), responses.answer(413))
    harness.runtime.call("fine")
    worker.stop()
    log = re.sub(r"https://localhost:\d+", "https://localhost:8945", worker.stdout)
    told = [line for line in log.splitlines() if re.match(r"\S+ (WARNING|ERROR) ", line)]
    assert len(told) >= len(polls) + len(TROUBLE)
    assert not [line for line in told if not is_explained(line)]
