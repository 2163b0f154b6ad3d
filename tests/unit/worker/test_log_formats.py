"""The two forms of a log line."""

import json
import logging
import os
from typing import Any

import pytest

from cm_exec.worker.logging import SlsFormat, TextFormat

AT = 1_700_000_000.1239
TIME = "2023-11-14T22:13:20.123Z"
TAGS = {"function": "double", "job_id": "j-1"}


def record(
    message: str | bytes, *arguments: object, level: int = logging.INFO, tags: dict[str, str] | None = None
) -> logging.LogRecord:
    made = logging.LogRecord("cm_exec.worker", level, __file__, 1, message, arguments, None)
    made.created, made.msecs, made.threadName, made.process = AT, 123.9, "slot-1", 42
    if tags:
        made.tags = tags
    return made


def text(made: logging.LogRecord, *, colour: bool = False) -> str:
    return TextFormat(colour=colour).lines(made)


def sls(made: logging.LogRecord) -> list[dict[str, Any]]:
    lines = SlsFormat("ses-1").lines(made)
    assert lines.endswith("\n")
    return [json.loads(line) for line in lines.splitlines()]


def failed_record() -> logging.LogRecord:
    made = record("a bug", level=logging.ERROR)
    error = RuntimeError("boom")
    made.exc_info = (RuntimeError, error, None)
    return made


def test_a_text_line_has_time_level_and_message() -> None:
    assert text(record("%d functions", 2)) == f"{TIME} INFO    2 functions\n"
    assert text(record("100 %", level=logging.WARNING)) == f"{TIME} WARNING 100 %\n"


def test_a_text_line_names_function_and_job() -> None:
    assert text(record("ok", tags=TAGS)) == f"{TIME} INFO    [double j-1] ok\n"


def test_each_line_of_a_handler_is_one_of_the_log() -> None:
    start = f"{TIME} INFO    [double j-1] | "
    assert text(record(b"one\r\n\ntwo\n", tags=TAGS)) == f"{start}one\n{start}\n{start}two\n"
    assert text(record(b"no end", tags=TAGS)) == f"{start}no end\n"


def test_invalid_utf8() -> None:
    """Bytes that are not UTF-8 become escapes."""
    assert text(record(b"\xff\xc3\xa9\n")).endswith("| \\xffé\n")
    assert sls(record(b"\xff\n"))[0]["message"] == "\\xff"


def test_control_characters() -> None:
    """No control character of a handler reaches the log."""
    shown = text(record(b"\x1b[2Ka\rb\x00\x7f\xc2\x9b\tc\n"))
    assert shown.endswith("| \\x1b[2Ka\\x0db\\x00\\x7f\\x9b\tc\n")


def test_no_name_of_a_caller_can_forge_a_line() -> None:
    shown = text(record("ok", tags={"function": "f\n\x1b[2K", "job_id": "j\r"}))
    assert shown == f"{TIME} INFO    [f\\x0a\\x1b[2K j\\x0d] ok\n"


@pytest.mark.parametrize(("level", "colour"), [(logging.DEBUG, "2m"), (logging.WARNING, "33m"), (logging.ERROR, "31m")])
def test_on_a_terminal_levels_have_colours(level: int, colour: str) -> None:
    line = text(record("m", level=level), colour=True)
    assert line.startswith(f"\033[{colour}{TIME}")
    assert line.endswith("m\033[0m\n")


def test_on_a_terminal_the_usual_level_has_none() -> None:
    assert text(record("m"), colour=True) == text(record("m"))


def test_sls_line() -> None:
    """An SLS line has the members of the platform."""
    assert sls(record("%d ms", 7, tags=TAGS)) == [
        {
            "type": "service.1",
            "level": "INFO",
            "time": TIME,
            "origin": "cm_exec.worker",
            "thread": "main",
            "message": "7 ms",
            "params": {"session_id": "ses-1", "process_id": os.getpid(), "function": "double", "job_id": "j-1"},
            "unsafeParams": {},
            "safe": True,
        }
    ]


def test_sls_calls_a_warning_warn() -> None:
    levels = [logging.DEBUG, logging.WARNING, logging.ERROR]
    assert [sls(record("m", level=level))[0]["level"] for level in levels] == ["DEBUG", "WARN", "ERROR"]


def test_what_a_handler_wrote_is_not_called_safe() -> None:
    lines = sls(record(b"one\ntwo\n", tags=TAGS))
    assert [(line["message"], line["safe"]) for line in lines] == [("one", False), ("two", False)]


def test_sls_record_is_one_line() -> None:
    """Any SLS record is one line."""
    (line,) = sls(record("%s", "a\nb\u2028\ud83d"))
    assert line["message"] == "a\nb\u2028\ud83d"
    assert SlsFormat("").lines(record("é")).isascii()


def test_a_bug_is_logged_with_its_traceback() -> None:
    assert "RuntimeError: boom" in text(failed_record())
    (line,) = sls(failed_record())
    assert line["message"].startswith("a bug\n")
