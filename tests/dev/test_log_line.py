import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from cm_exec.devserver.worker_process import LogEntry, parse_sls_line
from cm_exec.worker.logging import SlsFormat


def record(message: str | bytes, level: int = logging.INFO, **tags: str) -> logging.LogRecord:
    made = logging.LogRecord("cm_exec.worker", level, __file__, 1, message, (), None)
    if tags:
        made.tags = tags
    return made


def test_handler_output() -> None:
    """A line that a handler wrote is parsed with its job."""
    line = SlsFormat("").lines(record(b"caf\xc3\xa9\n", function="f", job_id="j1"))
    assert parse_sls_line(line.encode()) == LogEntry(text="café", from_handler=True, job_id="j1", function="f")


def test_worker_message() -> None:
    """A message of cm-exec itself is recognized."""
    line = SlsFormat("").lines(record("the token has changed", logging.WARNING))
    assert parse_sls_line(line.encode()) == LogEntry(text="the token has changed", level="WARN")


def test_routine_message() -> None:
    """The messages at the start and the end of every worker are marked as routine."""
    line = SlsFormat("").lines(record("exiting; all jobs answered"))
    assert parse_sls_line(line.encode()) == LogEntry(text="exiting; all jobs answered", routine=True)


def test_forged_line() -> None:
    """A handler cannot forge a line of another job."""
    forged = json.dumps({"message": "m", "level": "INFO", "safe": True, "params": {"job_id": "other"}}).encode()
    (line,) = SlsFormat("").lines(record(forged, function="f", job_id="own")).splitlines()
    assert parse_sls_line(line.encode()).job_id == "own"


def test_traceback() -> None:
    """A traceback is kept unchanged."""
    assert parse_sls_line(b"Traceback (most recent call last):\n").text == "Traceback (most recent call last):"


@given(st.binary())
def test_any_line(line: bytes) -> None:
    """Any line can be parsed."""
    parse_sls_line(line)
