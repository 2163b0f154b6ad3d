import json
import subprocess
import sys
from pathlib import Path

import pytest

import cm_exec
from tests.support.replica import without
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--no-such-option"],
        ["no-such-command"],
        ["run", "--concurrency", "many"],
        ["run", "--concurrency", "0"],
        ["run", "--log-format", "xml"],
        ["run", "--log-level", "loud"],
        ["run", "--drain-timeout", "soon"],
        ["run", "superfluous"],
        ["invoke"],
        ["invoke", "f", "null", "--query-file", "x.json"],
        ["invoke", "f", "--query-file", "/no/such/file"],
        ["check", "superfluous"],
        ["test", "--jobs", "0"],
    ],
    ids=" ".join,
)
def test_usage_errors(harness: WorkerHarness, arguments: list[str]) -> None:
    harness.write(ECHO)
    done = harness.cm_exec(*arguments, environment=harness.replica.modern())
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert harness.runtime.request_log.connections == 0


@pytest.mark.parametrize(
    "variables",
    [
        {"CM_EXEC_CONCURRENCY": "many"},
        {"CM_EXEC_LOG_FORMAT": "xml"},
        {"CM_EXEC_LOG_LEVEL": "loud"},
        {"CM_EXEC_DRAIN_TIMEOUT": "-1"},
    ],
    ids=str,
)
def test_invalid_variable(harness: WorkerHarness, variables: dict[str, str]) -> None:
    """It is reported by its name, and never replaced by a default."""
    harness.write(ECHO)
    done = harness.cm_exec("run", environment={**harness.replica.modern(), **variables})
    assert done.returncode == 2
    assert next(iter(variables)).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["", "run", "check", "invoke f null", "test", "schema", "bench", "dev"])
def test_no_config(harness: WorkerHarness, command: str) -> None:
    """Every command that reads cm.toml says what to do if there is none."""
    done = harness.cm_exec(*command.split(), environment=harness.replica.modern())
    assert done.returncode == 3
    assert b"cm.toml: cannot be read: No such file or directory; create a project with `cm-exec init`" in done.stderr
    assert b"Traceback" not in done.stderr


def unusable(harness: WorkerHarness) -> dict[str, dict[str, str]]:
    modern = harness.replica.modern()
    return {
        "nothing": {},
        "no GET_JOB_URI": without(modern, "GET_JOB_URI"),
        "no POST_RESULT_URI": without(modern, "POST_RESULT_URI"),
        "no token": without(modern, "MODULE_AUTH_TOKEN"),
        "no CA": without(modern, "DEFAULT_CA_PATH"),
        "not a URI": {**modern, "GET_JOB_URI": "localhost"},
        "not HTTPS": {**modern, "GET_JOB_URI": "http://runtime.example/job"},
        "results not over HTTPS": {**modern, "POST_RESULT_URI": "http://192.0.2.1/results"},
        "a bad port": {**modern, "GET_JOB_URI": "https://localhost:99999/job"},
    }


@pytest.mark.parametrize(
    "case",
    [
        "nothing",
        "no GET_JOB_URI",
        "no POST_RESULT_URI",
        "no token",
        "no CA",
        "not a URI",
        "not HTTPS",
        "results not over HTTPS",
        "a bad port",
    ],
)
def test_unusable_environment(harness: WorkerHarness, case: str) -> None:
    harness.write(ECHO)
    done = harness.cm_exec("run", environment=unusable(harness)[case])
    assert done.returncode == 4, done.stderr
    assert done.stderr
    assert b"Traceback" not in done.stderr
    assert harness.runtime.request_log.all() == []


def test_default_command(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    assert harness.cm_exec().returncode == 4


def test_version(harness: WorkerHarness) -> None:
    done = harness.cm_exec("--version")
    assert done.returncode == 0
    assert cm_exec.__version__.encode() in done.stdout


@pytest.mark.parametrize("command", ["", "run", "invoke", "check", "test"])
def test_help(harness: WorkerHarness, command: str) -> None:
    done = harness.cm_exec(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage:")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(harness: WorkerHarness, shell: str) -> None:
    done = harness.cm_exec(environment={"_CM_EXEC_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    assert b"_CM_EXEC_COMPLETE" in done.stdout


def test_module(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "cm_exec", "--version"], cwd=tmp_path, capture_output=True, check=True)
    assert cm_exec.__version__.encode() in done.stdout


def test_an_error_of_run_is_shown_once(harness: WorkerHarness) -> None:
    """On a terminal in plain words; in the log, which the platform collects, where stderr goes to the same pipe."""
    harness.write(ECHO)
    shown = harness.cm_exec_on_terminal("run")
    assert shown.returncode == 4
    assert shown.stderr.startswith(b"cm-exec: no runtime: ")
    assert shown.stderr.count(b"no runtime") == 1
    command = [CM_EXEC, "run", "--log-format", "sls"]
    environment = harness.environment({})
    joined = subprocess.run(
        command, cwd=harness.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert joined.returncode == 4
    assert json.loads(joined.stdout)["message"].startswith("no runtime: ")
    apart = harness.cm_exec("run")
    assert (apart.stdout.count(b"no runtime"), apart.stderr.count(b"no runtime")) == (1, 1)
