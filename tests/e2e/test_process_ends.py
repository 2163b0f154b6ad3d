"""The end of a process is logged when it happens: what it was doing, whose it was, its status, its last words."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.dev_program import started_dev
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n"
CRASH = "import sys\nprint('loading', file=sys.stderr)\nraise ValueError('no such model')\n"
CRASHED = "with exit status 1; the last line of its stderr: ValueError: no such model"
OPTIONS: dict[str, dict[str, object]] = {
    "persistent": {"mode": "persistent"},
    "says that it is ready": {"mode": "persistent", "ready": "message"},
    "envelope": {"mode": "persistent", "jobs_per_process": 2},
    "prespawn": {"mode": "prespawn"},
}
HTTP = (
    '[services.f]\ncommand = ["python3", "handler.py"]\nprotocol = "http"\nurl = "http://127.0.0.1:1"\n'
    '[functions.f]\nservice = "f"\n'
)


def config(name: str) -> str:
    return HTTP if name == "http" else function("f", ["python3", "handler.py"], **OPTIONS[name])


def ended(name: str) -> str:
    when = "before it had a job" if name == "prespawn" else "before it was ready"
    return f"the {'server' if name == 'http' else 'process'} of 'f' ended {when}, {CRASHED}"


@pytest.mark.parametrize("name", [*OPTIONS, "http"])
def test_a_crash_at_the_start(harness: WorkerHarness, name: str) -> None:
    (harness.folder / "handler.py").write_text(CRASH)
    worker = harness.launch(config(name))
    worker.wait_for_log(f"WARNING [f] {ended(name)}\n")
    assert "WARNING [f] process" not in worker.log
    assert "[f] | ValueError: no such model\n" in worker.log


@pytest.mark.parametrize("name", ["says that it is ready", "envelope", "http"])
def test_invoke(harness: WorkerHarness, name: str) -> None:
    """It is shown once, though several processes are tried."""
    (harness.folder / "handler.py").write_text(CRASH)
    harness.write(config(name))
    shown = harness.cm_exec("invoke", "f", "1").stderr.decode()
    assert shown.count(ended(name)) == 1


@pytest.mark.parametrize("name", ["persistent", "prespawn"])
def test_a_process_that_is_killed_while_it_waits(harness: WorkerHarness, name: str) -> None:
    pid_file = harness.folder / "pid"
    text = f"import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))\n{ECHO}"
    (harness.folder / "handler.py").write_text(text)
    worker = harness.start(config(name))
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="the start of the process")
    if name == "persistent":
        harness.runtime.result(harness.runtime.submit("f", b"1"))
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    when = "between jobs" if name == "persistent" else "before it had a job"
    worker.wait_for_log(f"WARNING [f] the process of 'f' ended {when}, by SIGKILL\n")


@pytest.mark.parametrize("name", ["persistent", "prespawn", "http"])
def test_dev_after_a_save(tmp_path: Path, name: str) -> None:
    (tmp_path / "handler.py").write_text(ECHO)
    (tmp_path / "cm.toml").write_text(config(name))
    with started_dev(tmp_path) as program:
        program.wait_for_output("the worker is connected" if name != "http" else "console")
        (tmp_path / "handler.py").write_text(CRASH)
        program.wait_for_output(ended(name))
        program.wait_for_output("f             | ValueError: no such model\n")
