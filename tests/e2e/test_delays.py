"""A job whose result does not come: after two seconds `invoke` on a terminal and `dev` say once what keeps it back."""

from pathlib import Path

import pytest

from tests.support.dev_program import started_dev
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

IN_BUFFER = (
    "it read the query, waits for the next one and wrote nothing; "
    "its answer is probably in a buffer: flush the output after each answer"
)
OBSTACLES = {
    "buffers": ("import sys\nfor line in sys.stdin: print(line, end='')", IN_BUFFER),
    "cuts": (
        "import sys\nfor line in sys.stdin: sys.stdout.write('12'); sys.stdout.flush()",
        "it wrote 2 bytes and no line end",
    ),
    "reads nothing": ("import time; time.sleep(300)", "it did not read its query"),
}
AT_WORK = {
    "sleeps": "import sys, time\nfor line in sys.stdin: time.sleep(4); print(1, flush=True)",
    "computes": "import sys, time\n"
    "for line in sys.stdin:\n"
    "    end = time.monotonic() + 4\n"
    "    while time.monotonic() < end: pass\n"
    "    print(1, flush=True)",
    "computes beside its reader": "import sys, threading, time\n"
    "def work():\n"
    "    end = time.monotonic() + 4\n"
    "    while time.monotonic() < end: pass\n"
    "    print(1, flush=True)\n"
    "for line in sys.stdin: threading.Thread(target=work).start()",
    "writes in pieces": "import sys, time\n"
    "for line in sys.stdin:\n"
    "    for part in ['[1', ',1', ',1', ',1', ',1]']: print(part, end='', flush=True); time.sleep(0.7)\n"
    "    print(flush=True)",
    "waits for another event": "import asyncio, sys\n"
    "async def work():\n"
    "    loop = asyncio.get_running_loop()\n"
    "    reader = asyncio.StreamReader()\n"
    "    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)\n"
    "    while line := await reader.readline():\n"
    "        process = await asyncio.create_subprocess_exec('sleep', '4', stdin=asyncio.subprocess.DEVNULL)\n"
    "        await process.wait()\n"
    "        print(1, flush=True)\n"
    "asyncio.run(work())",
}


def config(handler: str, **options: object) -> str:
    environment = {"PYTHONUNBUFFERED": ""}
    return function("f", ["python3", "-c", handler], mode="persistent", env=environment, **options)


@pytest.mark.parametrize("name", OBSTACLES)
def test_invoke(harness: WorkerHarness, name: str) -> None:
    """It is said once: the message of the timeout does not repeat it. Nothing but a terminal shows it."""
    handler, obstacle = OBSTACLES[name]
    harness.write(config(handler, timeout=6, start_timeout=4))
    shown = harness.cm_exec_on_terminal("invoke", "f", "1")
    lines = shown.stderr.decode().splitlines()
    assert lines[0] == f"cm-exec: no result after 2 s: {obstacle}"
    assert shown.stderr.count(obstacle.encode()) == 1
    assert len([line for line in lines if line]) == 2
    piped = harness.cm_exec("invoke", "f", "1")
    assert b"no result after" not in piped.stderr
    assert piped.returncode == shown.returncode != 0


def test_a_short_timeout_says_it_alone(harness: WorkerHarness) -> None:
    handler, obstacle = OBSTACLES["buffers"]
    harness.write(config(handler, timeout=3))
    shown = harness.cm_exec_on_terminal("invoke", "f", "1").stderr.decode()
    assert "no result after" not in shown
    assert shown.count(obstacle) == 1


def test_a_process_that_is_not_ready(harness: WorkerHarness) -> None:
    harness.write(config(OBSTACLES["reads nothing"][0], ready="message", start_timeout=4))
    shown = harness.cm_exec_on_terminal("invoke", "f", "1").stderr.decode()
    assert shown.startswith("cm-exec: no result after 2 s: no process of 'f' is ready\n")


@pytest.mark.parametrize("name", AT_WORK)
def test_a_process_at_work(harness: WorkerHarness, name: str) -> None:
    harness.write(config(AT_WORK[name]))
    shown = harness.cm_exec_on_terminal("invoke", "f", "1")
    assert (shown.returncode, shown.stderr) == (0, b"")


def test_dev(tmp_path: Path) -> None:
    """It is in the log of the job, and on the terminal, once."""
    handler, obstacle = OBSTACLES["buffers"]
    (tmp_path / "cm.toml").write_text(config(handler, timeout=6))
    with started_dev(tmp_path) as program:
        program.wait_until_ready()
        job = program.request("/functions/f?wait=false", b"1").json["jobId"]
        program.wait_for_output(f"no result after 2 s: {obstacle}")
        wait_until(lambda: obstacle in str(program.request(f"/jobs/{job}/log").json), what="it in the job's log")
        program.wait_for_output("#1 failed")
        assert program.output.count(obstacle) == 1


@pytest.mark.parametrize(("level", "is_written"), [("debug", True), ("info", False)])
def test_run_writes_it_at_level_debug_only(harness: WorkerHarness, level: str, *, is_written: bool) -> None:
    handler, obstacle = OBSTACLES["buffers"]
    worker = harness.start(config(handler, timeout=6), "--log-level", level)
    job = harness.runtime.submit("f")
    harness.runtime.result(job)
    worker.wait_for_log(job)
    worker.stop()
    assert (f"no result after 2 s: {obstacle}" in worker.stdout) is is_written
