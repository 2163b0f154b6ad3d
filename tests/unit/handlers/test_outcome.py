"""From the way a process ended to what is posted."""

from pathlib import Path

import pytest

from cm_exec.handlers.exchange import Ending
from cm_exec.handlers.framing import result_reader
from cm_exec.handlers.handler import Result
from cm_exec.handlers.outcome import not_started, outcome_of, outcome_of_turn
from cm_exec.handlers.process import NotStartedError
from cm_exec.handlers.spool import Spool
from cm_exec.protocol.failure import Failure, Reason
from tests.support.handling import function_of


def ending(status: int | None = 0, cause: Reason | None = None, detail: str = "") -> Ending:
    return Ending(status=status, cause=cause, detail=detail, stderr=b"said")


def spool_of(content: bytes) -> Spool:
    spool = Spool(None)
    spool.write(content)
    return spool


def failure(folder: Path, how: Ending, written: bytes = b"", /, **options: object) -> Failure:
    outcome = outcome_of(function_of(folder, "true", **options), how, spool_of(written))
    assert isinstance(outcome, Failure)
    assert outcome.stderr == b"said"
    return outcome


def result(folder: Path, written: bytes, /, **options: object) -> bytes:
    outcome = outcome_of(function_of(folder, "true", **options), ending(), spool_of(written))
    assert isinstance(outcome, Result)
    return outcome.spool.getvalue()


def test_status_0_makes_a_result_of_the_output(tmp_path: Path) -> None:
    assert result(tmp_path, b"\0\xff") == b"\0\xff"


@pytest.mark.parametrize("status", [1, 126, 127, 255])
def test_any_other_status_makes_a_failure(tmp_path: Path, status: int) -> None:
    told = failure(tmp_path, ending(status), b"output")
    assert (told.reason, told.exit_code, told.signal) == (Reason.EXIT, status, None)
    assert told.message == f"the command of 'f' failed with exit status {status}"


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (6, "SIGABRT"), (34, "SIGRTMIN"), (50, "SIG50")])
def test_a_signal_is_told_by_its_name(tmp_path: Path, number: int, name: str) -> None:
    told = failure(tmp_path, ending(-number))
    assert (told.reason, told.exit_code, told.signal) == (Reason.SIGNAL, None, name)
    assert told.message.startswith(f"the command of 'f' was ended by {name}")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Reason.TIMEOUT, "within its timeout of 1.5 s"),
        (Reason.OUTPUT_LIMIT, "more than its max_output of 2048 bytes"),
        (Reason.SHUTDOWN, "the worker shuts down"),
    ],
)
@pytest.mark.parametrize("status", [0, 3, -15, None])
def test_what_the_launcher_ended_is_told_by_its_cause(
    tmp_path: Path, cause: Reason, words: str, status: int | None
) -> None:
    told = failure(tmp_path, ending(status, cause, "the disk"), b"out", timeout=1.5, max_output=2048)
    assert (told.reason, told.exit_code, told.signal) == (cause, None, None)
    assert words in told.message
    assert told.message.endswith("(the disk)")


def test_json_must_be_json_and_stays_as_it_is(tmp_path: Path) -> None:
    assert result(tmp_path, b" [1.10]\n", output="json") == b" [1.10]\n"
    for wrong in (b"", b"[1", b"nonsense", b"\xff"):
        told = failure(tmp_path, ending(), wrong, output="json")
        assert (told.reason, told.exit_code) == (Reason.INVALID_OUTPUT, 0)
        assert told.message.startswith("the output of 'f' is not JSON: ")


def test_text_becomes_a_json_string(tmp_path: Path) -> None:
    assert result(tmp_path, 'é "a"\n'.encode(), output="text") == r'"é \"a\"\n"'.encode()
    assert result(tmp_path, b"", output="text") == b'""'


def test_text_that_is_no_text_is_told_with_its_place(tmp_path: Path) -> None:
    told = failure(tmp_path, ending(), b"ab\xff", output="text")
    assert (told.reason, told.exit_code) == (Reason.INVALID_OUTPUT, 0)
    assert told.message == "the output of 'f' is not UTF-8 text: byte 2"


def test_text_that_no_disk_can_hold_is_a_failure_and_no_bug(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "gone"))
    spool.write(b"\0" * 300_000)  # fits into memory, and its JSON does not
    outcome = outcome_of(function_of(tmp_path, "true", output="text"), ending(), spool)
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.OUTPUT_LIMIT


def turn(folder: Path, how: Ending, written: bytes) -> Result | Failure:
    reader, spool = result_reader("lines"), Spool(None)
    spool.write(reader.feed(written))
    return outcome_of_turn(function_of(folder, "true"), how, spool, reader)


def test_a_turn_is_over_with_its_line_even_if_the_process_ends(tmp_path: Path) -> None:
    for status in (None, 0, 3, -9):
        outcome = turn(tmp_path, ending(status), b"42\n")
        assert isinstance(outcome, Result)
        assert outcome.spool.getvalue() == b"42"


@pytest.mark.parametrize(
    ("how", "written", "reason", "words"),
    [
        (ending(0), b"", Reason.EXIT, "ended without a result"),
        (ending(3), b"", Reason.EXIT, "exit status 3"),
        (ending(-9), b"", Reason.SIGNAL, "SIGKILL"),
        (ending(0), b"4", Reason.OUT_OF_STEP, "the beginning of a result and ended"),
        (ending(None, Reason.OUT_OF_STEP, "two lines"), b"", Reason.OUT_OF_STEP, "two lines"),
        (ending(-15, Reason.TIMEOUT), b"4", Reason.TIMEOUT, "timeout"),
        (ending(-15, Reason.SHUTDOWN), b"42\n", Reason.SHUTDOWN, "shuts down"),
    ],
)
def test_a_turn_without_its_line_is_told(
    tmp_path: Path, how: Ending, written: bytes, reason: Reason, words: str
) -> None:
    outcome = turn(tmp_path, how, written)
    assert isinstance(outcome, Failure)
    assert outcome.reason is reason
    assert words in outcome.message


def test_what_was_not_started_is_told_with_the_shell_s_number() -> None:
    told = not_started(NotStartedError("'x' cannot be started: command not found", 127))
    assert (told.reason, told.exit_code) == (Reason.NOT_STARTED, 127)
    assert told.message == "'x' cannot be started: command not found"
