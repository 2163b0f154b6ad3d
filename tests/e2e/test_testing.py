"""`cm_exec.testing`: the pytest plugin in a project of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.official_sdks import python_command
from tests.support.processes import wait_until

WORKER = """
import json, os, ssl, sys, time, urllib.request
context = ssl.create_default_context(cafile=os.environ["DEFAULT_CA_PATH"])
token = {"Module-Auth-Token": open(os.environ["MODULE_AUTH_TOKEN"]).read()}
def send(url, data=None, **headers):
    request = urllib.request.Request(url, data, token | headers)
    with urllib.request.urlopen(request, context=context) as response:
        return response.status, response.read()
print("the worker is", os.getpid(), flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(300)  # a process that leaves its worker's group
while True:
    status, body = send(os.environ["GET_JOB_URI"])
    if status != 200:
        continue
    job = json.loads(body)["computeModuleJobV1"]
    kind, query = job["queryType"], job["query"]
    if kind == "die":
        sys.exit(3)
    result = {"query": query, "user": job.get("userId")}
    if kind == "fail":
        result = {"error": "no such luck", "reason": "exit"}
    mime = "text/plain" if kind == "wrong_type" else "application/octet-stream"
    send(os.environ["POST_RESULT_URI"] + "/" + job["jobId"], json.dumps(result).encode(), **{"Content-Type": mime})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(WORKER)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ncompute_module_command = {sys.executable} app.py\n")
    (tmp_path / "tmp").mkdir()
    return tmp_path


def pytest_command() -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "cm_exec.testing.plugin", "-p", "no:cacheprovider", "-q"]


def run(project: Path, test: str) -> "subprocess.CompletedProcess[str]":
    (project / "test_it.py").write_text(test)
    environment = {**os.environ, "TMPDIR": str(project / "tmp")}
    done = subprocess.run(
        pytest_command(), cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    print(done.stdout, done.stderr)
    return done


def running_in(project: Path) -> list[str]:
    """Return the processes whose working directory is the project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project and (process / "stat").read_text().rpartition(")")[2][1] != "Z":
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_functions_are_called_and_failures_raised(project: Path) -> None:
    done = run(
        project,
        """
import pytest
from cm_exec.testing import FunctionError, WorkerEndedError

def test_call(compute_module):
    assert compute_module.call("echo", [1], user_id="ada") == {"query": [1], "user": "ada"}
    assert compute_module.call("echo") == {"query": {}, "user": None}
    assert compute_module.call_bytes("echo", b'"1.10"') == b'{"query": "1.10", "user": null}'
    assert compute_module.log[0].startswith("the worker is")

def test_failure(compute_module):
    with pytest.raises(FunctionError, match="no such luck") as caught:
        compute_module.call("fail", 1)
    assert caught.value.reason == "exit"

def test_death(compute_module):
    with pytest.raises(WorkerEndedError, match="ended with exit status 3; its log ends:"):
        compute_module.call("die", 1)

def test_another_is_started_after_it(compute_module):
    assert compute_module.call("echo", 2)["query"] == 2
""",
    )
    assert done.returncode == 1  # a job that a worker takes to its grave is a protocol violation
    assert "1 error" in done.stdout.splitlines()[-1]
    assert "4 passed" in done.stdout.splitlines()[-1]
    assert "unanswered: not answered: the worker ended with exit status 3" in done.stdout
    assert running_in(project) == []
    assert list((project / "tmp").glob("cm-exec-*")) == []


def test_violation(project: Path) -> None:
    """A violation fails the test in which it happened."""
    done = run(
        project,
        """
def test_wrong(compute_module):
    compute_module.call("wrong_type", 1)

def test_right(compute_module):
    compute_module.call("echo", 1)
""",
    )
    assert done.returncode == 1
    assert "content_type: the result came as text/plain" in done.stdout
    assert "2 passed, 1 error" in done.stdout.splitlines()[-1]


def test_worker_that_exits(project: Path) -> None:
    """A worker that exits at once is reported with its log."""
    (project / "app.py").write_text("raise SystemExit('no model')\n")
    done = run(project, "def test_call(compute_module): compute_module.call('echo', 1)\n")
    assert done.returncode == 1
    assert "the worker ended with exit status 1; its log ends:" in done.stdout
    assert "no model" in done.stdout


def test_missing_extra(project: Path) -> None:
    """Without the extra other tests run, and the tests of the plugin say what is missing."""
    (project / "test_it.py").write_text(
        "def test_other(): pass\ndef test_call(compute_module): compute_module.call('echo', 1)\n"
    )
    boot = (
        "import sys; sys.modules['starlette'] = None; import pytest; sys.exit(pytest.main(['-p', 'no:cacheprovider']))"
    )
    done = subprocess.run([sys.executable, "-c", boot], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "cm_exec.testing needs starlette; install them with: pip install 'cm-exec[dev]'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_start_of_pytest(project: Path) -> None:
    """The plugin does not delay the start of pytest."""
    (project / "test_it.py").write_text("import sys\ndef test_other(): assert 'cm_exec.config' not in sys.modules\n")
    done = subprocess.run([sys.executable, "-m", "pytest"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_command_that_cannot_start(project: Path) -> None:
    """A command that cannot be started is reported in one sentence."""
    (project / "pytest.ini").write_text("[pytest]\ncompute_module_command = ./no-such-program\n")
    done = run(project, "def test_call(compute_module): compute_module.call('echo', 1)\n")
    assert done.returncode == 1
    assert "\nthe command cannot be started: No such file or directory: ./no-such-program\n===" in done.stdout
    assert "run_compute_module" not in done.stdout


def test_a_proxy_is_not_asked_for_this_machine(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official SDK's client would send everything through it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    command = " ".join(python_command())
    (project / "pytest.ini").write_text(f"[pytest]\ncompute_module_command = {command}\n")
    done = run(project, 'def test_add(compute_module): assert compute_module.call("add", {"x": 1, "y": 1}) == 2\n')
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("compute_module_command = python 'app.py", "compute_module_command: No closing quotation: python 'app.py"),
        ("compute_module_command = x\ncompute_module_concurrency = two", "an integer of 1 or more, found 'two'"),
        ("compute_module_command = x\ncompute_module_concurrency = 0", "an integer of 1 or more, found '0'"),
    ],
)
def test_wrong_setting(setting: str, message: str, project: Path) -> None:
    (project / "pytest.ini").write_text(f"[pytest]\n{setting}\n")
    done = run(project, "def test_call(compute_module): pass\n")
    assert message in done.stdout
    assert "Traceback" not in done.stdout


def test_a_query_that_is_not_json(project: Path) -> None:
    """It is the test that is wrong, so the worker does not get it."""
    done = run(
        project,
        """
import pytest
@pytest.mark.parametrize("query", [float("nan"), {"a": float("inf")}])
def test_value(compute_module, query):
    with pytest.raises(ValueError, match="JSON"):
        compute_module.call("echo", query)
@pytest.mark.parametrize("query", [b"", b"nope", b'1, "queryType": "die"', b"\\xff"])
def test_text(compute_module, query):
    with pytest.raises(ValueError, match="the query is not JSON: "):
        compute_module.call_bytes("echo", query)
def test_no_job(compute_module):
    assert compute_module.runtime.jobs == []
""",
    )
    assert "7 passed" in done.stdout


def test_without_a_command_it_says_what_to_do(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\n")
    done = run(project, "def test_call(compute_module): pass\n")
    assert "set compute_module_command in pytest's configuration" in done.stdout


def test_speed_with_the_official_sdk(project: Path) -> None:
    """Ten calls of the official SDK take at most ten seconds."""
    command = " ".join(python_command())
    (project / "pytest.ini").write_text(f"[pytest]\ncompute_module_command = {command}\n")
    began = time.monotonic()
    done = run(
        project,
        """
import pytest

@pytest.mark.parametrize("number", range(10))
def test_call(compute_module, number):
    assert compute_module.call("add", {"x": number, "y": 1}) == number + 1
""",
    )
    seconds = time.monotonic() - began
    print(f"{seconds:.1f} s")
    assert done.returncode == 0
    assert running_in(project) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes that leave their group are found on Linux only")
def test_nothing_is_left_after_pytest_was_killed(project: Path) -> None:
    (project / "test_it.py").write_text(
        """
import os, pathlib, time

def test_call(compute_module):
    compute_module.call("echo", 1)
    pathlib.Path("began").touch()
    time.sleep(300)
"""
    )
    environment = {**os.environ, "TMPDIR": str(project / "tmp")}
    with subprocess.Popen(pytest_command(), cwd=project, env=environment) as running:
        wait_until((project / "began").exists, what="the start of the test", seconds=60)
        assert len(running_in(project)) >= 4  # pytest, the guardian, the worker and its child
        running.send_signal(signal.SIGKILL)
    wait_until(lambda: running_in(project) == [], what="the end of all processes", seconds=30)
    wait_until(lambda: not list((project / "tmp").glob("cm-exec-*")), what="the end of the folder", seconds=30)
