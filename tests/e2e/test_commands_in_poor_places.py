"""What the system lacks, or a strange path, is named in one sentence by every command: none shows a traceback."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"]) + '[[tests]]\nfunction = "echo"\nquery = 1\nresult = 1\n'
DEV = ["dev", "--port", "0", "--runtime-port", "0"]
COMMANDS = [["check"], ["invoke", "echo", "1"], ["test"], ["schema"], ["init", "new"], DEV, ["conform", "--", "true"]]


def run_in_shell(harness: WorkerHarness, before: str, arguments: list[str], **environment: str) -> str:
    """Run a command after shell commands; return what it says. One that would go on is interrupted."""
    harness.write(ECHO)
    (harness.folder / "tmp").mkdir(exist_ok=True)
    with subprocess.Popen(
        ["sh", "-c", f'{before} && exec timeout --signal INT 4 "$@"', "sh", CM_EXEC, *arguments],
        cwd=harness.folder,
        env={**harness.environment({}), "TMPDIR": str(harness.folder / "tmp"), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        output, _ = process.communicate(timeout=60)
    assert b"Traceback" not in output
    assert b"this is a bug" not in output
    return output.decode(errors="backslashreplace")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(
    "before",
    [
        "mkdir gone && cd gone && rmdir ../gone",
        "ulimit -f 0",
        "ulimit -n 16",
        "mkdir \"$(printf 'c\\377')\" && cp cm.toml \"$(printf 'c\\377')\" && cd \"$(printf 'c\\377')\"",
    ],
    ids=["no folder", "no file", "few descriptors", "a folder that is not UTF-8"],
)
def test_place(harness: WorkerHarness, before: str, arguments: list[str]) -> None:
    run_in_shell(harness, before, arguments)


def test_words(harness: WorkerHarness) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone"
    assert "the current folder does not exist any more" in run_in_shell(harness, gone, [*DEV, "--no-worker"])
    assert "set TMPDIR" in run_in_shell(harness, "ulimit -f 0", DEV)
    name = os.fsdecode(os.fsencode(harness.folder) + b"/t\xff")
    assert "is not UTF-8" in run_in_shell(harness, 'mkdir "$TMPDIR"', DEV, TMPDIR=name)


@pytest.mark.parametrize(
    "arguments",
    [["check", "--config", "/dev/zero"], ["dev", "--name", "x" * 300], ["dev", "--", "x" * 300]],
    ids=["endless config", "host", "command"],
)
def test_value(harness: WorkerHarness, arguments: list[str]) -> None:
    """A value that is too long is refused at once."""
    harness.write(ECHO)
    done = harness.cm_exec(*arguments)
    assert done.returncode in {2, 3}
    assert b"this is a bug" not in done.stderr


def test_a_pipe_for_the_ready_file(harness: WorkerHarness) -> None:
    """A pipe or a device, such as /dev/null, is written to, and is not replaced by a file."""
    pipe = harness.folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    run_in_shell(harness, "true", [*DEV, "--ready-file", "pipe"])
    reader.join(10)
    assert "callersUrl" in read[0]
    assert pipe.is_fifo()


def test_an_interrupt_during_the_start(harness: WorkerHarness, tmp_path: Path) -> None:
    """Ctrl-C ends the program while its modules are imported."""
    (tmp_path / "click.py").write_text("import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(30)\n")
    with subprocess.Popen(
        [CM_EXEC, "check"],
        cwd=harness.folder,
        env={**harness.environment({}), "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
    ) as process:
        wait_until((harness.folder / "started").exists, what="the start")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert stderr == b""
