import os
import re
import subprocess

import pytest

from tests.support.toml import function, table
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


BAD = [
    "",
    "functions = 3",
    "[functions]\n",
    "[functions]\nf = 3\n",
    "[functions]\nf = ''\n",
    "[functions.f]\ncommand = []\n",
    "[functions.f]\n",
    "[functions]\nf = 'cat'\nf = 'dog'\n",
    "[functions]\nf = 'unclosed\n",
    function("f", "cat", timeout=-1),
    function("f", "cat", timeout=True),
    function("f", "cat", max_concurrency=0),
    function("f", "cat", env={"A": 1}),
    function("f", "cat", env={"A=B": "1"}),
    function("f", "cat", env={"A": "x\0y"}),
    function("f", ["cat", "x\0y"]),
    function("f", "cat", max_output="-1"),
    function("f", "cat", credentials="yes"),
    function("f", "cat") + table("launcher", concurrency=0),
    function("f", "cat") + table("launcher", concurrency="4"),
    function("f", "cat") + table("launcher", drain_timeout=-1),
    function("f", "cat") + table("surprise", x=1),
    table("defaults", command="cat") + function("f", "cat"),
]


@pytest.mark.parametrize("config", BAD)
def test_invalid_config(harness: WorkerHarness, config: str) -> None:
    harness.write(config)
    done = harness.cm_exec("check")
    assert done.returncode == 3
    assert b"cm.toml" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("config", [BAD[0], BAD[8], BAD[9]])
def test_worker_invalid_config(harness: WorkerHarness, config: str) -> None:
    """A worker with an invalid cm.toml exits before it connects."""
    harness.write(config)
    done = harness.cm_exec("run", environment=harness.replica.modern())
    assert done.returncode == 3
    assert b"cm.toml" in done.stderr
    assert b"Traceback" not in done.stderr
    assert harness.runtime.request_log.connections == 0


@pytest.mark.parametrize("command", [["python3", "lost.py"], "python3 lost.py", "exec python3 -u lost.py"])
def test_missing_script(harness: WorkerHarness, command: str | list[str]) -> None:
    """The script of a known interpreter is searched, also in a plain shell command."""
    harness.write(function("f", command))
    done = harness.cm_exec("check")
    assert done.returncode == 3
    assert re.search(r"^f +NOT FOUND ", done.stdout.decode(), re.MULTILINE)
    assert (
        f"functions.f: command: the script '{harness.folder}/lost.py' does not exist: create it" in done.stderr.decode()
    )


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


@pytest.mark.parametrize(
    ("command", "remedy"),
    [("handler.sh", "write ./handler.sh"), ("no-such-program", "install it, or write its path")],
)
@pytest.mark.parametrize("shell", [True, False])
def test_not_on_path(harness: WorkerHarness, command: str, remedy: str, *, shell: bool) -> None:
    harness.folder.joinpath("handler.sh").write_text("")
    harness.write(function("good", ["cat"]) + function("f", command if shell else [command]))
    done = harness.cm_exec("check")
    assert done.returncode == 3
    assert re.search(r"^good +/\S*/cat ", done.stdout.decode(), re.MULTILINE)
    assert f"command not found: '{command}' is not on PATH; " in done.stderr.decode()
    assert remedy in done.stderr.decode()


@pytest.mark.parametrize(
    ("command", "options", "warned"),
    [
        ("tee -a log | python3 -u h.py", {}, True),
        (["bash", "-ec", "sed -u s/a/b/ | cat"], {}, True),
        (["bash", "-c", "exec > >(tee log); cat"], {}, True),
        ("tee -a log | cat", {"envelope": True}, False),
        ("tee -a log | cat", {"mode": "spawn"}, False),
        ("grep 'a|b' || true", {}, False),
        (["cat", "a|b"], {}, False),
    ],
)
def test_pipe_warning(
    harness: WorkerHarness, command: str | list[str], options: dict[str, object], *, warned: bool
) -> None:
    """A persistent shell command with a pipe can answer the wrong job: a warning, and no error."""
    harness.folder.joinpath("h.py").write_text("")
    harness.write(function("f", command, **{"mode": "persistent", **options}))
    done = harness.cm_exec("check")
    assert done.returncode == 0, done.stderr
    assert (b"cm-exec: warning: cm.toml: functions.f: a persistent command with a pipe" in done.stderr) is warned
    assert (b"set envelope = true" in done.stderr) is warned


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
