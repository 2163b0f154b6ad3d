"""No command shows a traceback for what a user did with its streams, its arguments or its variables."""

import os
import pty
import signal
import subprocess
from pathlib import Path

import click
import pytest

from cm_exec.cli.program import COMMANDS, VARIABLES, program
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

CONFIG = function("echo", ["cat"]) + '[[tests]]\nfunction = "echo"\nquery = 1\nresult = 1\n'
NOT_UTF8 = os.fsdecode(b"\xff")

PRINTING = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["init", "new"],
    ["init", "--help"],
    ["check"],
    ["check", "--image-rules"],
    ["test"],
    ["schema"],
    ["schema", "--config"],
    ["bench", "--help"],
    ["dev", "--help"],
]


def run(harness: WorkerHarness, arguments: list[str], redirection: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", CM_EXEC, *arguments],
        cwd=harness.folder,
        env=harness.environment({}),
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_full_device(harness: WorkerHarness, arguments: list[str]) -> None:
    """Lost output is reported in one line, and is no success."""
    harness.write(CONFIG)
    done = run(harness, arguments, ">/dev/full")
    lines = done.stderr.splitlines()
    assert lines.count(b"cm-exec: cannot write to stdout: No space left on device") == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert done.returncode != 0


REDIRECTIONS = [">&-", "<&- >&- 2>&-", "2>/dev/full", "| true", "2>&1 | true"]
REDIRECTED = [
    *((arguments, redirection) for arguments in PRINTING for redirection in (">&-", "2>&1 | true")),
    *((arguments, redirection) for arguments in (["--help"], ["check"], ["test"]) for redirection in REDIRECTIONS[1:4]),
]


@pytest.mark.parametrize(
    ("arguments", "redirection"), REDIRECTED, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_streams(harness: WorkerHarness, arguments: list[str], redirection: str) -> None:
    """Closed streams, a full stderr, and a reader that is gone are no accident."""
    harness.write(CONFIG)
    done = run(harness, arguments, redirection)
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception" not in done.stderr
    assert b"cannot write to stdout" not in done.stderr
    in_this_image = {3} if "--image-rules" in arguments else set()
    assert done.returncode in {0, 141} | in_this_image


ARGUMENTS = [
    [NOT_UTF8],
    ["run", "--config", NOT_UTF8],
    ["run", "--log-level", NOT_UTF8],
    ["check", "--config", NOT_UTF8],
    ["check", "--image-rules", "--ignore", NOT_UTF8],
    ["invoke", NOT_UTF8],
    ["invoke", "echo", "--query-file", NOT_UTF8],
    ["test", NOT_UTF8],
    ["test", "--junit", f"{NOT_UTF8}/x"],
    ["schema", "--config", NOT_UTF8],
    ["schema", "--from", NOT_UTF8],
    ["schema", "--from-python", NOT_UTF8],
    ["schema", "--from-python", f"{NOT_UTF8}:f"],
    ["init", "new", "--lang", NOT_UTF8],
    ["init", "new", "--mode", NOT_UTF8],
    ["init", "new", "--name", NOT_UTF8],
    ["init", "--add", NOT_UTF8],
    ["init", "new", "--from-python", f"{NOT_UTF8}:f"],
    ["init", "new", "--base-image", NOT_UTF8],
    ["bench", NOT_UTF8],
    ["bench", "--query", NOT_UTF8],
    ["bench", "--query-file", NOT_UTF8],
    ["dev", "--config", NOT_UTF8],
]
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FIRST_OF_COMMANDS = list({arguments[0]: arguments for arguments in reversed(ARGUMENTS)}.values())


@pytest.mark.parametrize(
    ("arguments", "locale"),
    [*((arguments, {}) for arguments in ARGUMENTS), *((arguments, C_LOCALE) for arguments in FIRST_OF_COMMANDS)],
    ids=lambda part: " ".join(part).encode(errors="backslashreplace").decode(),
)
def test_not_utf8(harness: WorkerHarness, arguments: list[str], locale: dict[str, str]) -> None:
    """Arguments that are not UTF-8 are usage errors, or files that do not exist."""
    harness.write(CONFIG)
    done = harness.cm_exec(*arguments, environment=locale)
    assert done.returncode in {2, 3}, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr


def test_interrupted_query(harness: WorkerHarness) -> None:
    """Ctrl-C while a query is typed exits like in other programs."""
    harness.write(CONFIG)
    terminal, its = pty.openpty()
    with subprocess.Popen(
        [CM_EXEC, "invoke", "echo"],
        cwd=harness.folder,
        env=harness.environment({}),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(its)
        wait_until(lambda: _waits_for_input(process.pid), what="invoke to read the terminal")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def _waits_for_input(pid: int) -> bool:
    return Path(f"/proc/{pid}/wchan").read_text() in {"n_tty_read", "wait_woken"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["chek"], "there is no command 'chek'; did you mean 'check'?"),
        (["zzz"], "there is no command 'zzz'; the commands are 'init', 'run'"),
    ],
)
def test_unknown_command(harness: WorkerHarness, arguments: list[str], hint: str) -> None:
    done = harness.cm_exec(*arguments)
    assert done.returncode == 2
    assert hint in done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "other.toml", "check"],
        ["-c", "other.toml", "invoke", "echo", "1"],
        ["--config=other.toml", "test", "echo"],
    ],
    ids=" ".join,
)
def test_config_before_command(harness: WorkerHarness, arguments: list[str]) -> None:
    harness.folder.joinpath("other.toml").write_text(CONFIG)
    done = harness.cm_exec(*arguments)
    assert done.returncode == 0, done.stderr


def test_misspelt_variable(harness: WorkerHarness) -> None:
    """A variable that is nearly a setting is reported; one of somebody else is not."""
    harness.write(CONFIG)
    done = harness.cm_exec("check", environment={"CM_EXEC_CONCURENCY": "4", "CM_EXEC_BASE": "x"})
    warning = b"cm-exec: warning: there is no variable CM_EXEC_CONCURENCY; did you mean CM_EXEC_CONCURRENCY?\n"
    assert (done.returncode, done.stderr) == (0, warning)


def test_variables_of_options() -> None:
    """The table of variables is that of the options of all commands."""
    context = click.Context(program)
    commands = [program.get_command(context, name) for name in COMMANDS]
    parameters = [parameter for command in commands if command for parameter in command.params]
    assert {parameter.envvar for parameter in parameters if parameter.envvar} == VARIABLES
