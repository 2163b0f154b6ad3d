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


def test_what_a_handler_wrote_comes_with_its_job() -> None:
    line = SlsFormat("").lines(record(b"caf\xc3\xa9\n", function="f", job_id="j1"))
    assert parse_sls_line(line.encode()) == LogEntry(text="café", from_handler=True, job_id="j1", function="f")


def test_what_cm_exec_says_is_told_apart() -> None:
    line = SlsFormat("").lines(record("the token has changed", logging.WARNING))
    assert parse_sls_line(line.encode()) == LogEntry(text="the token has changed", level="WARN")


def test_how_every_worker_starts_and_ends_is_routine() -> None:
    line = SlsFormat("").lines(record("exiting; all jobs answered"))
    assert parse_sls_line(line.encode()) == LogEntry(text="exiting; all jobs answered", routine=True)


def test_a_handler_cannot_forge_a_line_of_another_job() -> None:
    forged = json.dumps({"message": "m", "level": "INFO", "safe": True, "params": {"job_id": "other"}}).encode()
    (line,) = SlsFormat("").lines(record(forged, function="f", job_id="own")).splitlines()
    assert parse_sls_line(line.encode()).job_id == "own"


def test_a_traceback_is_taken_as_it_stands() -> None:
    assert parse_sls_line(b"Traceback (most recent call last):\n").text == "Traceback (most recent call last):"


@given(st.binary())
def test_any_line_can_be_read(line: bytes) -> None:
    parse_sls_line(line)
