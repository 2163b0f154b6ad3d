import datetime as dt
import json
import os
import re
from typing import Any

import pytest

import cm_exec
from tests.support.processes import wait_until
from tests.support.toml import function, table
from tests.support.worker import Worker
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])
NOISY = function("noisy", "yes 'a line of noise' | head -c 3000000 >&2; printf done")


def sls_lines(worker: Worker) -> list[dict[str, Any]]:
    """Return the complete lines of stdout, each of which must be an SLS line of protocol.md, section 6."""
    lines = [json.loads(line) for line in worker.stdout.splitlines(keepends=True) if line.endswith("\n")]
    for line in lines:
        assert line["type"] == "service.1"
        assert line["level"] in {"DEBUG", "INFO", "WARN", "ERROR"}
        assert dt.datetime.fromisoformat(line["time"]).tzinfo is not None
        assert isinstance(line["origin"], str)
        assert isinstance(line["thread"], str)
        assert isinstance(line["message"], str)
        assert isinstance(line["unsafeParams"], dict)
        assert line["params"]["session_id"] == "ses-of-the-replica"
    return lines


def test_start_line(harness: WorkerHarness) -> None:
    """One line describes the start."""
    worker = harness.start(ECHO + function("thumbnail", ["cat"]), "--concurrency", "3")
    worker.wait_for_log(cm_exec.__version__)
    worker.stop()
    (line,) = [line for line in worker.stdout.splitlines() if cm_exec.__version__ in line]
    for text in ("thumbnail", "3", str(harness.runtime.port)):
        assert text in line


def test_line_of_a_job(harness: WorkerHarness) -> None:
    """One line describes each job."""
    worker = harness.start(ECHO + function("fails", "exit 7"))
    good, bad = harness.runtime.submit("f", b"[1,2,3]"), harness.runtime.submit("fails")
    harness.runtime.result(bad)
    worker.wait_for_log(bad)
    worker.stop()
    (line,) = [line for line in worker.stdout.splitlines() if good in line]
    assert re.search(r"\bf\b", line)
    assert "7" in line
    assert re.search(r"\d ?m?s\b", line)
    (line,) = [line for line in worker.stdout.splitlines() if bad in line]
    assert "fails" in line
    assert "7" in line


def test_text_for_a_file_has_no_colour(harness: WorkerHarness) -> None:
    worker = harness.start(ECHO)
    harness.runtime.call("f")
    worker.stop()
    assert "\x1b" not in worker.log


def test_colours(harness: WorkerHarness) -> None:
    """The text for a terminal marks failures with colour."""
    ours, terminal = os.openpty()
    worker = harness.launch(function("fails", "exit 7"), stdout=terminal)
    worker.wait_until_ready()
    harness.runtime.call("fails")
    worker.stop()
    os.close(terminal)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert re.search(rb"\x1b\[[0-9;]*m[^\n]*fails", shown)


def test_stderr(harness: WorkerHarness) -> None:
    """Stderr is logged while the job runs, with its function and job."""
    worker = harness.start(function("f", "echo first line >&2; while [ ! -e go ]; do sleep 0.05; done"))
    job = harness.runtime.submit("f")
    worker.wait_for_log("first line")
    assert harness.runtime.posts(job) == []
    harness.folder.joinpath("go").touch()
    harness.runtime.result(job)
    (line,) = [line for line in worker.log.splitlines() if "first line" in line]
    assert re.search(r"\bf\b", line.replace("first line", ""))
    assert job in line or job[:8] in line


def test_unfinished_stderr_line(harness: WorkerHarness) -> None:
    """A last line of stderr without its end is logged."""
    worker = harness.start(function("f", "printf 'one\\ntwo' >&2"))
    harness.runtime.call("f")
    worker.wait_for_log("two")


def test_sls_lines_are_as_foundry_reads_them(harness: WorkerHarness) -> None:
    config = ECHO + function("talks", r"printf 'a \"quote\" \377 \\\n' >&2; exit 1")
    worker = harness.start(config + table("launcher", log_format="sls"))
    good, bad = harness.runtime.submit("f"), harness.runtime.submit("talks")
    harness.runtime.result(bad)
    worker.stop()
    lines = sls_lines(worker)
    assert {line["params"].get("job_id") for line in lines} >= {good, bad}
    (relayed,) = [line for line in lines if "quote" in line["message"]]
    assert relayed["params"]["job_id"] == bad
    assert worker.stderr == ""


@pytest.mark.parametrize("source", ["option", "variable"])
def test_sources_of_the_log_format(harness: WorkerHarness, source: str) -> None:
    """The log format may be an option or a variable."""
    arguments = ["--log-format", "sls"] if source == "option" else []
    variables = {"CM_EXEC_LOG_FORMAT": "sls"} if source == "variable" else {}
    worker = harness.start(ECHO, *arguments, environment={**harness.environment(), **variables})
    harness.runtime.call("f")
    worker.stop()
    assert sls_lines(worker)


def test_sls_without_a_session(harness: WorkerHarness) -> None:
    """An SLS line has no session if the platform names none."""
    environment = harness.environment()
    del environment["COMPUTE_SESSION_ID"]
    worker = harness.start(ECHO, "--log-format", "sls", environment=environment)
    worker.stop()
    assert not any(json.loads(line)["params"].get("session_id") for line in worker.stdout.splitlines())


def test_log_level_error(harness: WorkerHarness) -> None:
    """The log level "error" leaves out successful jobs."""
    worker = harness.start(ECHO, "--log-level", "error")
    job = harness.runtime.submit("f")
    harness.runtime.result(job)
    worker.stop()
    assert worker.log == ""


def test_forged_line(harness: WorkerHarness) -> None:
    """A handler's line cannot imitate a line of the log."""
    forged = "2026-01-01T00:00:00.000Z INFO    [g 1] ok, 1 ms, 1 bytes"
    worker = harness.start(function("f", f"printf '%s\\r\\n\\n%s\\n' '{forged}' '{forged}' >&2"))
    harness.runtime.call("f")
    worker.stop()
    assert worker.stdout.count(forged) == 2
    assert [line for line in worker.stdout.splitlines() if line.startswith(forged)] == []


def test_closed_log(harness: WorkerHarness) -> None:
    """The worker continues without a reader of its log."""
    read, write = os.pipe()
    worker = harness.launch(ECHO + NOISY, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    os.close(read)
    assert harness.runtime.call("noisy") == b"done"
    assert [harness.runtime.call("f", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert worker.stop() == 0


def test_stuck_log(harness: WorkerHarness) -> None:
    """A reader of the log that never reads delays neither jobs nor the end."""
    read, write = os.pipe()
    worker = harness.launch(ECHO + NOISY, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    assert harness.runtime.call("noisy") == b"done"
    assert [harness.runtime.call("f", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert worker.stop() == 0
    os.close(read)


def test_slow_log(harness: WorkerHarness) -> None:
    """The lines that a slow reader of the log misses are counted."""
    read, write = os.pipe()
    worker = harness.launch(function("noisy", "yes noise | head -c 40000000 >&2; printf done") + ECHO, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    assert harness.runtime.call("noisy") == b"done"
    with os.fdopen(read, "rb") as reader:
        lines = bytearray()
        os.set_blocking(read, False)

        def dropped() -> bool:
            lines.extend(reader.read(1 << 20) or b"")
            return bool(re.search(rb"\d+ (?:log )?lines?.*(?:dropped|lost)|dropped.*\d+", bytes(lines)))

        wait_until(dropped, what="a count of dropped lines")
        assert harness.runtime.call("f", b"1") == b"1"
        os.set_blocking(read, True)
        harness.runtime.release_polls()
        worker.terminate()
        reader.read()
        assert worker.wait() == 0
