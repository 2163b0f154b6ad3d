"""A job whose result does not come says after two seconds what probably keeps it back: in `invoke` and in `dev`."""

from pathlib import Path

import pytest

from tests.support.dev_program import started_dev
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

HANDLERS = {
    "buffers": (
        "import sys\nfor line in sys.stdin: print(line, end='')",
        "its answer is in a buffer: flush the output",
    ),
    "cuts": (
        "import sys\nfor line in sys.stdin: sys.stdout.write('12'); sys.stdout.flush()",
        "2 bytes and no line end",
    ),
    "reads nothing": ("import time; time.sleep(300)", "the process has not read its query"),
}


def config(handler: str, **options: object) -> str:
    environment = {"PYTHONUNBUFFERED": ""}
    return function("f", ["python3", "-c", handler], mode="persistent", env=environment, **options)


@pytest.mark.parametrize("name", HANDLERS)
def test_invoke(harness: WorkerHarness, name: str) -> None:
    handler, hint = HANDLERS[name]
    harness.write(config(handler, timeout=4, start_timeout=4))
    done = harness.cm_exec("invoke", "f", "1")
    assert done.stderr.startswith(b"cm-exec: no result after 2 s: ")
    assert hint in done.stderr.decode().splitlines()[0]


def test_a_process_that_is_not_ready(harness: WorkerHarness) -> None:
    harness.write(config(HANDLERS["reads nothing"][0], ready="message", start_timeout=4))
    done = harness.cm_exec("invoke", "f", "1")
    assert done.stderr.startswith(b"cm-exec: no result after 2 s: no process of 'f' is ready for it\n")


def test_a_process_at_work_is_left_alone(harness: WorkerHarness) -> None:
    harness.write(config("import sys, time\nfor line in sys.stdin: time.sleep(3); print(1, flush=True)"))
    done = harness.cm_exec("invoke", "f", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1", b"")


def test_dev(tmp_path: Path) -> None:
    """It is in the log of the job, and on the terminal."""
    handler, hint = HANDLERS["buffers"]
    (tmp_path / "cm.toml").write_text(config(handler))
    with started_dev(tmp_path) as program:
        program.wait_until_ready()
        job = program.request("/functions/f?wait=false", b"1").json["jobId"]
        program.wait_for_output(hint)
        wait_until(lambda: hint in str(program.request(f"/jobs/{job}/log").json), what="the hint in the job's log")


@pytest.mark.parametrize(("level", "is_written"), [("debug", True), ("info", False)])
def test_run_writes_it_at_level_debug_only(harness: WorkerHarness, level: str, *, is_written: bool) -> None:
    handler, hint = HANDLERS["buffers"]
    worker = harness.start(config(handler, timeout=4), "--log-level", level)
    job = harness.runtime.submit("f")
    harness.runtime.result(job)
    worker.wait_for_log(job)
    worker.stop()
    assert (hint in worker.stdout) is is_written
