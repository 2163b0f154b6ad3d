import os
import re
import subprocess

import pytest

from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

MISTAKES = """
[functions.thumbnail]
comand = ["cat"]
timeout = "soon"

[functions.other]
command = ["cat"]
max_output = "64 bananas"
output = "jsn"

[launcher]
concurency = 4
log_format = "xml"
"""


def test_table(harness: WorkerHarness) -> None:
    harness.write(function("thumbnail", ["cat"], timeout=30) + function("double", "jq '. * 2'"))
    done = harness.cm_exec("check")
    assert done.returncode == 0
    table_text = done.stdout.decode()
    for text in ("thumbnail", "double", "30"):
        assert text in table_text
    assert re.search(r"/\S*/cat\b", table_text), "the executable is resolved"


def test_errors(harness: WorkerHarness) -> None:
    """All errors are listed, with the nearest valid names."""
    harness.write(MISTAKES)
    done = harness.cm_exec("check")
    assert done.returncode == 3
    text = (done.stdout + done.stderr).decode()
    for expected in (
        "cm.toml",
        "functions.thumbnail.comand",
        "command",
        "functions.thumbnail.timeout",
        "functions.other.max_output",
        "functions.other.output",
        "launcher.concurency",
        "concurrency",
        "launcher.log_format",
    ):
        assert expected in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", [["a" * 5000], ["./" + "a" * 5000], ["python3", "a" * 5000]])
@pytest.mark.parametrize("cwd", [".", "a" * 5000])
def test_a_name_that_is_too_long(harness: WorkerHarness, command: list[str], cwd: str) -> None:
    harness.write(function("bad", command, cwd=cwd))
    for arguments in (["check"], ["invoke", "bad", "1"], ["test"]):
        done = harness.cm_exec(*arguments)
        assert done.returncode not in {0, 1}
        assert b"Traceback" not in done.stderr
        assert done.stderr


def test_missing_folder(harness: WorkerHarness) -> None:
    harness.write(function("bad", ["cat"], cwd="missing"))
    done = harness.cm_exec("check")
    assert done.returncode != 0
    assert b"missing" in done.stdout + done.stderr


def test_runs_nothing(harness: WorkerHarness) -> None:
    harness.write(function("f", "touch was-run"))
    assert harness.cm_exec("check").returncode == 0
    assert not harness.folder.joinpath("was-run").exists()


def test_config_option(harness: WorkerHarness) -> None:
    harness.folder.joinpath("my.toml").write_text(function("elsewhere", ["cat"]))
    done = harness.cm_exec("check", "--config", "my.toml")
    assert done.returncode == 0
    assert b"elsewhere" in done.stdout


INVALID = ["", "[functions]\nf = 'unclosed\n", function("f", "cat", timeout=-1)]


@pytest.mark.parametrize("config", INVALID)
@pytest.mark.parametrize("command", ["check", "run"])
def test_invalid_config(harness: WorkerHarness, config: str, command: str) -> None:
    """A worker with an invalid cm.toml exits before it connects."""
    harness.write(config)
    done = harness.cm_exec(command, environment=harness.replica.modern())
    assert done.returncode == 3
    assert b"cm.toml" in done.stderr
    assert b"Traceback" not in done.stderr
    assert harness.runtime.request_log.connections == 0


def test_missing_script(harness: WorkerHarness) -> None:
    """The script of a known interpreter is searched, also in a plain shell command."""
    commands = [["python3", "lost.py"], "python3 lost.py", "exec python3 -u lost.py"]
    harness.write("".join(function(f"f{number}", command) for number, command in enumerate(commands)))
    done = harness.cm_exec("check")
    assert done.returncode == 3
    lines = done.stderr.decode().splitlines()
    for number, line in zip(range(len(commands)), lines, strict=True):
        assert re.search(rf"^f{number} +NOT FOUND ", done.stdout.decode(), re.MULTILINE)
        message = f"functions.f{number}: command: the script '{harness.folder}/lost.py' does not exist: create it"
        assert message in line


def test_not_executable(harness: WorkerHarness) -> None:
    """NOT FOUND stands only for what does not exist; the remedy in the message works."""
    harness.folder.joinpath("it's.sh").write_text("#!/bin/sh\ncat\n")
    harness.write(function("f", ["./it's.sh"]))
    done = harness.cm_exec("check")
    assert re.search(r"^f +NOT EXECUTABLE ", done.stdout.decode(), re.MULTILINE)
    remedy = done.stderr.decode().partition("is not executable: ")[2].partition(", or ")[0]
    assert remedy.startswith("chmod +x ")
    subprocess.run(remedy, shell=True, check=True)
    assert harness.cm_exec("check").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_not_readable(harness: WorkerHarness) -> None:
    script = harness.folder / "f.py"
    script.write_text("")
    script.chmod(0)
    harness.write(function("f", ["python3", "f.py"]))
    done = harness.cm_exec("check")
    assert re.search(r"^f +NOT READABLE ", done.stdout.decode(), re.MULTILINE)
    assert b"chmod a+r" in done.stderr


def test_not_on_path(harness: WorkerHarness) -> None:
    harness.folder.joinpath("handler.sh").write_text("")
    remedies = {"handler.sh": "write ./handler.sh", "no-such-program": "install it, or write its path"}
    wrong = [(command, shell) for command in remedies for shell in (True, False)]
    config = [function(f"f{number}", command if shell else [command]) for number, (command, shell) in enumerate(wrong)]
    harness.write(function("good", ["cat"]) + "".join(config))
    done = harness.cm_exec("check")
    assert done.returncode == 3
    assert re.search(r"^good +/\S*/cat ", done.stdout.decode(), re.MULTILINE)
    for (command, _), line in zip(wrong, done.stderr.decode().splitlines(), strict=True):
        assert f"command not found: '{command}' is not on PATH; " in line
        assert remedies[command] in line


PIPES: list[tuple[str | list[str], dict[str, object], bool]] = [
    ("tee -a log | python3 -u h.py", {}, True),
    (["bash", "-ec", "sed -u s/a/b/ | cat"], {}, True),
    (["bash", "-c", "exec > >(tee log); cat"], {}, True),
    ("tee -a log | cat", {"envelope": True}, False),
    ("tee -a log | cat", {"mode": "spawn"}, False),
    ("grep 'a|b' || true", {}, False),
    (["cat", "a|b"], {}, False),
]
"""Commands with options, and whether they are warned about."""


def test_pipe_warning(harness: WorkerHarness) -> None:
    """A persistent shell command with a pipe can answer the wrong job: a warning, and no error."""
    harness.folder.joinpath("h.py").write_text("")
    declared = [
        function(f"f{number}", command, **{"mode": "persistent", **options})
        for number, (command, options, _) in enumerate(PIPES)
    ]
    harness.write("".join(declared))
    done = harness.cm_exec("check")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.decode().splitlines() if "a persistent command with a pipe" in line]
    warned = [number for number, (_, _, expected) in enumerate(PIPES) if expected]
    for number, line in zip(warned, lines, strict=True):
        assert line.startswith(f"cm-exec: warning: cm.toml: functions.f{number}: ")
        assert "set envelope = true" in line


SERVICES = """
[services.model]
command = ["python3", "lost.py"]
[services.web]
protocol = "http"
url = "http://127.0.0.1:8000"
[functions.one]
service = "model"
[functions.two]
service = "model"
[functions.three]
service = "web"
"""


def test_services(harness: WorkerHarness) -> None:
    """The problem of a service is reported once; a server that something else starts has its URL."""
    harness.write(SERVICES)
    done = harness.cm_exec("check")
    table_text, errors = done.stdout.decode(), done.stderr.decode().splitlines()
    assert done.returncode == 3
    assert re.search(r"^one +NOT FOUND ", table_text, re.MULTILINE)
    assert re.search(r"^two +NOT FOUND ", table_text, re.MULTILINE)
    assert re.search(r"^three +http://127.0.0.1:8000 ", table_text, re.MULTILINE)
    assert len(errors) == 1
    assert errors[0].startswith("cm-exec: cm.toml: services.model: command: the script ")
