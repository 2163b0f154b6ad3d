"""`timeout` and `out_of_step` say what was there, and `output` shows its first 256 bytes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import error_of
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]

JVM = "Picked up JAVA_TOOL_OPTIONS: -Xmx1g"


READ_FRAME = "i = sys.stdin.buffer; n = int(i.readline()[16:]); i.readline(); i.read(n)"


def script(text: str) -> list[str]:
    """Return the command of a persistent Python program that buffers nothing."""
    return [sys.executable, "-S", "-E", "-u", "-c", "import os,sys,time\n" + text]


def failure(harness: WorkerHarness, config: str, query: bytes = b"1") -> dict[str, Any]:
    harness.start(config)
    return error_of(harness.runtime.result(harness.runtime.submit("f", query)), function="f")


def test_part_of_a_line(harness: WorkerHarness) -> None:
    """A result without its line end is described as that."""
    command = script("for q in sys.stdin: os.write(1, b'partial'); time.sleep(300)")
    error = failure(harness, function("f", command, mode="persistent", timeout=1))
    assert error["reason"] == "timeout"
    assert "7 bytes and no line end" in error["error"]
    assert error["output"] == "partial"


def test_part_of_a_frame(harness: WorkerHarness) -> None:
    """A frame that is not whole is described by its bytes."""
    command = script(f"{READ_FRAME}; os.write(1, b'Content-Length: 9\\r\\n\\r\\n\"12345'); time.sleep(300)")
    error = failure(harness, function("f", command, mode="persistent", protocol="content-length", timeout=1))
    assert error["reason"] == "timeout"
    assert "6 of 9 bytes of its frame" in error["error"]
    assert '"12345' in error["output"]


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize("end", ["sleep 300", "exec >&-; sleep 300"], ids=["stdout open", "stdout closed"])
def test_complete_result_without_an_exit(harness: WorkerHarness, mode: str, end: str) -> None:
    """A process that has written its result and does not exit is described as that."""
    error = failure(harness, function("f", f"""echo '{{"a": 1}}'; {end}""", mode=mode, timeout=1))
    assert error["reason"] == "timeout"
    assert "a complete result, and did not exit" in error["error"]
    assert error["output"] == '{"a": 1}\n'


def test_timeout_without_output(harness: WorkerHarness) -> None:
    """A process that wrote nothing has no `output` in its error."""
    error = failure(harness, function("f", "sleep 300", timeout=1))
    assert error["reason"] == "timeout"
    assert not error.get("output")


def test_exit_within_a_line(harness: WorkerHarness) -> None:
    """A persistent process that exits within its answer is out of step, and the error says what was there."""
    command = script("sys.stdin.readline(); os.write(1, b'half'); os._exit(0)")
    error = failure(harness, function("f", command, mode="persistent"))
    assert error["output"] == "half"
    assert "4 bytes and no line end" in error["error"]


def test_banner_before_the_query(harness: WorkerHarness) -> None:
    """A line that a process writes before it has a query is shown in the error result and in the log."""
    command = script(f"print('{JVM}')\nfor q in sys.stdin: time.sleep(0.2); print(q.strip())")
    worker = harness.start(function("f", command, mode="persistent"))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert error["reason"] in {"out_of_step", "not_started"}
    assert error["output"].startswith(JVM)
    worker.wait_for_log(JVM)


def test_debug_print_before_the_result(harness: WorkerHarness) -> None:
    """A debug line before the result is an error that shows the line, and never the result."""
    command = script("for q in sys.stdin: print('debug: loading'); time.sleep(0.05); print(q.strip())")
    worker = harness.start(function("f", command, mode="persistent"))
    for _ in range(5):
        error = error_of(harness.runtime.result(harness.runtime.submit("f", b'"query"')))
        assert error["reason"] in {"out_of_step", "invalid_output"}
        assert error["output"].startswith("debug: loading")
    worker.wait_for_log("debug: loading")


def test_json_debug_print_before_the_result(harness: WorkerHarness) -> None:
    """The same holds for a debug line that happens to be JSON."""
    command = script("for q in sys.stdin: print('0'); time.sleep(0.05); print(q.strip())")
    harness.start(function("f", command, mode="persistent"))
    for _ in range(5):
        error = error_of(harness.runtime.result(harness.runtime.submit("f", b'"query"')))
        assert error["reason"] == "out_of_step"


@pytest.mark.parametrize("wait", ["pass", "select.select([0], [], [])", "select.poll().poll(1)"])
def test_json_debug_print_of_a_slow_reader(harness: WorkerHarness, wait: str) -> None:
    """And for a process that takes a while from one read to the next, as on a busy machine."""
    lines = (
        "import os, select",
        "text = b''",
        "while True:",
        f"    {wait}",
        "    text += os.read(0, 4096) or sys.exit()",
        "    time.sleep(0.05)",
        "    if text.endswith(b'\\n'): print('0'); time.sleep(0.05); print(text.decode().strip()); text = b''",
    )
    harness.start(function("f", script("\n".join(lines)), mode="persistent"))
    for _ in range(3):
        error = error_of(harness.runtime.result(harness.runtime.submit("f", b'"query"')))
        assert error["reason"] == "out_of_step"


def test_blind_system(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """Where no system call can be seen, as in gVisor, jobs work, and the log says once what cannot be prevented."""
    without_proc = [*unshare, "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    config = function("f", "cat", mode="persistent") + function("e", "cat", mode="persistent", envelope=True)
    worker = harness.start(config, "--concurrency", "2", wrapper=without_proc)
    for query in (b"1", b"2"):
        assert harness.runtime.call("f", query) == query
    assert worker.log.count("does not show whether") == 1
    assert "[f] this system does not show" in worker.log


def test_output_that_is_not_a_frame(harness: WorkerHarness) -> None:
    """Output without a frame is shown."""
    command = script(f"{READ_FRAME}; print('warning: no frame here'); time.sleep(300)")
    error = failure(harness, function("f", command, mode="persistent", protocol="content-length"))
    assert error["reason"] == "out_of_step"
    assert error["output"].startswith("warning: no frame here")


def test_output_is_short(harness: WorkerHarness) -> None:
    """`output` has the first 256 bytes."""
    error = failure(harness, function("f", "printf '%01000d' 7 | sed s/^/x/", output="json"))
    assert error["reason"] == "invalid_output"
    assert error["output"] == "x" + "0" * 255


def test_output_of_any_bytes(harness: WorkerHarness) -> None:
    """Bytes that are not text do not break the error result."""
    error = failure(harness, function("f", r"printf '\377\000\033[2J'", output="json"))
    assert error["reason"] == "invalid_output"
    assert isinstance(error["output"], str)


@pytest.mark.parametrize("answer", ["{}", '{"result": 1}', '{"jobId": "other", "result": 1}', "1"])
def test_answer_that_names_no_job_of_the_process(harness: WorkerHarness, answer: str) -> None:
    """With the envelope an answer must name a job that the process has."""
    command = script(f"for q in sys.stdin: print({answer!r})")
    error = failure(harness, function("f", command, mode="persistent", envelope=True))
    assert error["reason"] == "out_of_step"
    assert error["output"].startswith(answer)


def test_check_warns_of_a_pipeline(harness: WorkerHarness) -> None:
    """`check` warns of a persistent shell command with a pipe, where reader and writer are two processes."""
    harness.write(function("f", "tee -a log | python3 -u h.py", mode="persistent"))
    harness.folder.joinpath("h.py").write_text("import sys\nfor line in sys.stdin: print(1, flush=True)\n")
    done = harness.cm_exec("check")
    output = (done.stdout + done.stderr).decode()
    assert "pipe" in output, output
    assert json.dumps("f") in output or "functions.f" in output or "'f'" in output
