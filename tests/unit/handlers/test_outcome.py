"""From the way a process ended to what is posted."""

from pathlib import Path

import pytest

from cm_exec.handlers.job_state import JobState
from cm_exec.handlers.outcome import StderrTail, excerpt, failure_of_exit, finish_output, out_of_step
from cm_exec.handlers.spool import LimitedOutput, Spool
from cm_exec.processes.child import NotStartedError
from cm_exec.protocol.failure import OUTPUT_EXCERPT, STDERR_TAIL, Failure, Reason
from tests.support.handlers import function_of


def spool_of(content: bytes) -> Spool:
    spool = Spool(None)
    spool.write(content)
    return spool


def failure_of(
    folder: Path,
    status: int | None,
    reason: Reason | None = None,
    *,
    written: bytes = b"",
    stderr: bytes = b"said",
    **options: object,
) -> Failure:
    ended = JobState()
    ended.status, ended.reason, ended.detail = status, reason, "a detail" if reason else ""
    failure = failure_of_exit(function_of(folder, "true", **options), ended, stderr, spool_of(written))
    assert failure is not None
    assert failure.stderr == stderr
    return failure


def finished(folder: Path, written: bytes, **options: object) -> tuple[Failure | None, bytes]:
    spool = spool_of(written)
    return finish_output(function_of(folder, "true", **options), spool, b"said", 0), spool.getvalue()


def test_status_0_is_no_failure(tmp_path: Path) -> None:
    ended = JobState()
    ended.exited(0)
    assert failure_of_exit(function_of(tmp_path, "true"), ended, b"", spool_of(b"\0\xff")) is None


@pytest.mark.parametrize("status", [1, 126, 127, 255])
def test_any_other_status_is_a_failure(tmp_path: Path, status: int) -> None:
    failure = failure_of(tmp_path, status, written=b"output")
    assert (failure.reason, failure.exit_code, failure.signal) == (Reason.EXIT, status, None)
    assert failure.message == f"the command of 'f' failed with exit status {status}"
    assert failure.output == b""


def test_stdout_excerpt(tmp_path: Path) -> None:
    """The error of a failed command quotes the end of its stdout, where PHP reports errors."""
    failure = failure_of(tmp_path, 255, written=b"x" * 1000 + b"Fatal error", stderr=b"")
    assert failure.output.endswith(b"Fatal error")
    assert len(failure.output) == OUTPUT_EXCERPT


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (6, "SIGABRT"), (34, "SIGRTMIN"), (50, "SIG50")])
def test_a_signal_has_its_name(tmp_path: Path, number: int, name: str) -> None:
    failure = failure_of(tmp_path, -number)
    assert (failure.reason, failure.exit_code, failure.signal) == (Reason.SIGNAL, None, name)
    assert failure.message.startswith(f"the command of 'f' was ended by {name}")
    assert ("memory" in failure.message) is (name == "SIGKILL")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.TIMEOUT, "did not finish within its timeout of 1.5 s and was ended (a detail)"),
        (Reason.OUTPUT_LIMIT, "wrote more than its max_output of 2048 bytes and was ended (a detail)"),
        (Reason.SHUTDOWN, "was ended because a detail"),
    ],
)
@pytest.mark.parametrize("status", [0, 3, -15, None])
def test_reason_of_the_launcher(tmp_path: Path, reason: Reason, words: str, status: int | None) -> None:
    """The reason for which the launcher terminated the process precedes the exit status."""
    failure = failure_of(tmp_path, status, reason, written=b"wrong", timeout=1.5, max_output=2048)
    assert (failure.reason, failure.exit_code, failure.signal) == (reason, None, None)
    assert failure.message == f"the command of 'f' {words}"
    assert failure.output == b"wrong"


def test_process_that_survives_sigkill(tmp_path: Path) -> None:
    """A process that the kernel does not end is reported."""
    assert failure_of(tmp_path, None).message == "the command of 'f' cannot be ended"


def test_json_must_be_json_and_stays_as_it_is(tmp_path: Path) -> None:
    assert finished(tmp_path, b" [1.10]\n", output="json") == (None, b" [1.10]\n")
    for wrong in (b"", b"[1", b"nonsense", b"\xff"):
        failure, _ = finished(tmp_path, wrong, output="json")
        assert failure is not None
        assert (failure.reason, failure.exit_code, failure.stderr) == (Reason.INVALID_OUTPUT, 0, b"said")
        assert failure.message.startswith("the output of 'f' is not JSON: ")
        assert failure.output == wrong


def test_text_becomes_a_json_string(tmp_path: Path) -> None:
    assert finished(tmp_path, 'é "a"\n\n'.encode(), output="text") == (None, r'"é \"a\"\n"'.encode())  # but one \n
    assert finished(tmp_path, b"", output="text") == (None, b'""')


def test_output_that_is_not_text(tmp_path: Path) -> None:
    """Output that is not text is reported with the position of the wrong byte."""
    failure, _ = finished(tmp_path, b"ab\xff", output="text")
    assert failure is not None
    assert (failure.reason, failure.exit_code) == (Reason.INVALID_OUTPUT, 0)
    assert failure.message == "the output of 'f' is not UTF-8 text: byte 2"


def test_bytes_are_not_checked(tmp_path: Path) -> None:
    assert finished(tmp_path, b"\xff[") == (None, b"\xff[")


def test_the_limit_of_the_output_is_exact() -> None:
    output = LimitedOutput(Spool(None), 5)
    assert output.write(b"12345") is None
    assert output.write(b"6") == (Reason.OUTPUT_LIMIT, "")
    assert output.spool.getvalue() == b"12345"


def test_stderr_tail() -> None:
    """The end of stderr is kept, with enough before it to redact a token."""
    tail = StderrTail()
    for number in range(100):
        tail.write(b"%4d" % number * 1000)
    kept = tail.getvalue()
    assert STDERR_TAIL + 8192 < len(kept) < 64 * 1024
    assert kept.endswith(b"  99")


def test_an_excerpt_is_the_begin_or_the_end() -> None:
    spool = spool_of(b"begin" + bytes(100_000) + b"end")
    assert excerpt(spool).startswith(b"begin")
    assert excerpt(spool, end=True).endswith(b"end")
    assert OUTPUT_EXCERPT <= len(excerpt(spool)) < 64 * 1024


def test_exit_code_of_a_failed_start() -> None:
    """A command that cannot be started has the shell's exit code."""
    failure = NotStartedError("'x' cannot be started: command not found", 127).failure
    assert (failure.reason, failure.exit_code) == (Reason.NOT_STARTED, 127)
    assert failure.message == "'x' cannot be started: command not found"


def test_out_of_step_shows_what_was_written() -> None:
    failure = out_of_step("f", "a line that is not JSON", stderr=b"said", output=b"WARNING: x")
    assert failure.message == "the process of 'f' is out of step: it wrote a line that is not JSON"
    assert (failure.reason, failure.stderr, failure.output) == (Reason.OUT_OF_STEP, b"said", b"WARNING: x")
