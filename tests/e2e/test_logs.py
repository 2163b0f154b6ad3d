import datetime as dt
import json
import os
import re
from typing import Any

import pytest

import cm_exec
from tests.support.bench import Bench
from tests.support.processes import wait_until
from tests.support.toml import function, table
from tests.support.worker import Worker

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


def test_one_line_tells_of_the_start(bench: Bench) -> None:
    worker = bench.start(ECHO + function("thumbnail", ["cat"]), "--concurrency", "3")
    worker.wait_for_log(cm_exec.__version__)
    worker.stop()
    (line,) = [line for line in worker.stdout.splitlines() if cm_exec.__version__ in line]
    for text in ("thumbnail", "3", str(bench.runtime.port)):
        assert text in line


def test_one_line_tells_of_each_job(bench: Bench) -> None:
    worker = bench.start(ECHO + function("fails", "exit 7"))
    good, bad = bench.runtime.submit("f", b"[1,2,3]"), bench.runtime.submit("fails")
    bench.runtime.result(bad)
    worker.wait_for_log(bad)
    worker.stop()
    (line,) = [line for line in worker.stdout.splitlines() if good in line]
    assert re.search(r"\bf\b", line)
    assert "7" in line
    assert re.search(r"\d ?m?s\b", line)
    (line,) = [line for line in worker.stdout.splitlines() if bad in line]
    assert "fails" in line
    assert "7" in line


def test_text_for_a_file_has_no_colour(bench: Bench) -> None:
    worker = bench.start(ECHO)
    bench.runtime.call("f")
    worker.stop()
    assert "\x1b" not in worker.log


def test_text_for_a_terminal_marks_failures_with_colour(bench: Bench) -> None:
    ours, terminal = os.openpty()
    worker = bench.launch(function("fails", "exit 7"), stdout=terminal)
    worker.wait_until_ready()
    bench.runtime.call("fails")
    worker.stop()
    os.close(terminal)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert re.search(rb"\x1b\[[0-9;]*m[^\n]*fails", shown)


def test_stderr_is_relayed_while_the_job_runs_and_says_whose_it_is(bench: Bench) -> None:
    worker = bench.start(function("f", "echo first line >&2; while [ ! -e go ]; do sleep 0.05; done"))
    job = bench.runtime.submit("f")
    worker.wait_for_log("first line")
    assert bench.runtime.posts(job) == []
    bench.folder.joinpath("go").touch()
    bench.runtime.result(job)
    (line,) = [line for line in worker.log.splitlines() if "first line" in line]
    assert re.search(r"\bf\b", line.replace("first line", ""))
    assert job in line or job[:8] in line


def test_a_last_stderr_line_without_its_end_is_relayed(bench: Bench) -> None:
    worker = bench.start(function("f", "printf 'one\\ntwo' >&2"))
    bench.runtime.call("f")
    worker.wait_for_log("two")


def test_sls_lines_are_as_foundry_reads_them(bench: Bench) -> None:
    config = ECHO + function("talks", r"printf 'a \"quote\" \377 \\\n' >&2; exit 1")
    worker = bench.start(config + table("launcher", log_format="sls"))
    good, bad = bench.runtime.submit("f"), bench.runtime.submit("talks")
    bench.runtime.result(bad)
    worker.stop()
    lines = sls_lines(worker)
    assert {line["params"].get("job_id") for line in lines} >= {good, bad}
    (relayed,) = [line for line in lines if "quote" in line["message"]]
    assert relayed["params"]["job_id"] == bad
    assert worker.stderr == ""


@pytest.mark.parametrize("source", ["option", "variable"])
def test_the_log_format_is_an_option_and_a_variable_too(bench: Bench, source: str) -> None:
    arguments = ["--log-format", "sls"] if source == "option" else []
    variables = {"CM_EXEC_LOG_FORMAT": "sls"} if source == "variable" else {}
    worker = bench.start(ECHO, *arguments, environment={**bench.environment(), **variables})
    bench.runtime.call("f")
    worker.stop()
    assert sls_lines(worker)


def test_sls_has_no_session_where_the_platform_names_none(bench: Bench) -> None:
    environment = bench.environment()
    del environment["COMPUTE_SESSION_ID"]
    worker = bench.start(ECHO, "--log-format", "sls", environment=environment)
    worker.stop()
    assert not any(json.loads(line)["params"].get("session_id") for line in worker.stdout.splitlines())


def test_log_level_error_leaves_out_what_went_well(bench: Bench) -> None:
    worker = bench.start(ECHO, "--log-level", "error")
    job = bench.runtime.submit("f")
    bench.runtime.result(job)
    worker.stop()
    assert worker.log == ""


def test_a_handlers_line_cannot_forge_a_line_of_the_log(bench: Bench) -> None:
    forged = "2026-01-01T00:00:00.000Z INFO    [g 1] ok, 1 ms, 1 bytes"
    worker = bench.start(function("f", f"printf '%s\\r\\n\\n%s\\n' '{forged}' '{forged}' >&2"))
    bench.runtime.call("f")
    worker.stop()
    assert worker.stdout.count(forged) == 2
    assert [line for line in worker.stdout.splitlines() if line.startswith(forged)] == []


def test_a_log_reader_that_is_gone_is_no_reason_to_stop(bench: Bench) -> None:
    read, write = os.pipe()
    worker = bench.launch(ECHO + NOISY, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    os.close(read)
    assert bench.runtime.call("noisy") == b"done"
    assert [bench.runtime.call("f", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert worker.stop() == 0


def test_a_log_reader_that_never_reads_holds_up_no_job_and_no_end(bench: Bench) -> None:
    read, write = os.pipe()
    worker = bench.launch(ECHO + NOISY, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    assert bench.runtime.call("noisy") == b"done"
    assert [bench.runtime.call("f", b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
    assert worker.stop() == 0
    os.close(read)


def test_lines_that_a_slow_reader_cost_are_counted(bench: Bench) -> None:
    read, write = os.pipe()
    worker = bench.launch(function("noisy", "yes noise | head -c 40000000 >&2; printf done") + ECHO, stdout=write)
    os.close(write)
    worker.wait_until_ready()
    assert bench.runtime.call("noisy") == b"done"
    with os.fdopen(read, "rb") as reader:
        lines = bytearray()
        os.set_blocking(read, False)

        def dropped() -> bool:
            lines.extend(reader.read(1 << 20) or b"")
            return bool(re.search(rb"\d+ (?:log )?lines?.*(?:dropped|lost)|dropped.*\d+", bytes(lines)))

        wait_until(dropped, what="a count of dropped lines")
        assert bench.runtime.call("f", b"1") == b"1"
        os.set_blocking(read, True)
        bench.runtime.release_polls()
        worker.terminate()
        reader.read()
        assert worker.wait() == 0
