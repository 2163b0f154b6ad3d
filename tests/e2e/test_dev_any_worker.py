"""`cm-exec dev` with workers other than cm-exec: its own, connected ones, and in containers."""

import contextlib
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dev_program import CM_EXEC, DevProgram, dev_environment, run_cm_exec, started_dev
from tests.support.processes import wait_until
from tests.support.toml import function

WORKER = """
import json, os, ssl, sys, urllib.request
connection = os.environ.get("CONNECTION_TO_RUNTIME")
if connection:
    info = json.load(open(connection))
    root = f"https://{info['host']}:{info['port']}"
    job_uri, result_uri = root + info["getJobPath"], root + info["postResultPath"]
    ca, token = info["trustStorePath"], info["moduleAuthToken"]
else:
    job_uri, result_uri = os.environ["GET_JOB_URI"], os.environ["POST_RESULT_URI"]
    ca, token = os.environ["DEFAULT_CA_PATH"], open(os.environ["MODULE_AUTH_TOKEN"]).read()
context = ssl.create_default_context(cafile=ca)
def send(uri, data=None, **headers):
    request = urllib.request.Request(uri, data, {"Module-Auth-Token": token} | headers)
    with urllib.request.urlopen(request, context=context) as response:
        return response.status, response.read()
print("version 1", flush=True)
while True:
    status, body = send(job_uri)
    if status != 200:
        continue
    job = json.loads(body)["computeModuleJobV1"]
    if job["queryType"] == "die":
        os.kill(os.getpid(), 9)
    if job["queryType"] == "logs":
        line = {"type": "service.1", "level": "ERROR", "params": {"job_id": job["jobId"]}, "message": "why"}
        print(json.dumps(line), json.dumps(line | {"params": {}, "message": "of none"}), sep="\\n")
        print('{"a": 1}', flush=True)
    text = "text/plain" if job["queryType"] == "breach" else "application/octet-stream"
    send(f"{result_uri}/{job['jobId']}", json.dumps(job["query"]).encode(), **{"Content-Type": text})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(WORKER)
    return tmp_path


@contextlib.contextmanager
def dev(folder: Path, *options: str, port: int | None = 0) -> Iterator[DevProgram]:
    with started_dev(folder, *options, "--", sys.executable, "app.py", port=port) as program:
        program.wait_until_ready()
        yield program


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("style", ["modern", "connection-file"])
def test_any_command(folder: Path, style: str) -> None:
    """Any command can be started and called."""
    with dev(folder, "--env-style", style) as program:
        assert program.call("echo", b"[1]") == b"[1]"
        assert program.run("invoke", "--dev", "echo", "2").stdout == b"2"
        program.wait_for_output("worker        version 1")
        assert program.state["worker"]["services"] == []
        program.interrupt()
        assert program.process.wait(30) == 0
        assert "Traceback" not in program.output.partition("stopping")[2].replace("KeyboardInterrupt", "")


def test_sls_lines(folder: Path) -> None:
    """Lines in the platform's format are shown as text, and those that name a job are in its log."""
    with dev(folder) as program:
        job = program.request("/functions/logs", b"{}").headers["X-Job-Id"]
        program.wait_for_output("worker        | why\n")
        program.wait_for_output("worker        of none\n")
        program.wait_for_output('worker        {"a": 1}\n')
        assert [line["line"] for line in program.request(f"/jobs/{job}/log").json["log"]] == ["why"]


def test_invoke_without_a_result(folder: Path) -> None:
    """The command `invoke --dev` says what a job without a result waits for."""
    (folder / "app.py").write_text(WORKER.replace('== "die":', '== "forget":\n        continue\n    if 0:'))
    with dev(folder):
        for why in ("the worker has the job", "the job waits for a slot"):
            waiting = subprocess.Popen(
                [CM_EXEC, "invoke", "--dev", "forget", "1"],
                cwd=folder,
                env=dev_environment(folder),
                stderr=subprocess.PIPE,
            )
            assert waiting.stderr
            line = f"cm-exec: no result after 5 s: {why}; Ctrl-C ends the wait\n"
            assert waiting.stderr.readline().decode() == line
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(30) == 130
            waiting.stderr.close()


def test_saved_file(folder: Path) -> None:
    """A saved file restarts the worker."""
    with dev(folder) as program:
        before = program.state["worker"]["process"]["pid"]
        (folder / "app.py").write_text(WORKER.replace("version 1", "version 2"))
        program.wait_for_output("app.py changed; worker restarted")
        program.wait_for_output("version 2")
        assert program.call("echo", b"1") == b"1"
        assert gone(before)


def test_crash(folder: Path) -> None:
    """A crash is reported, and the worker starts again."""
    with dev(folder) as program:
        assert program.request("/functions/die", b"{}").status == 502
        program.wait_for_output("the worker was killed by SIGKILL, starts again in 0.5 s")
        assert program.call("echo", b"1") == b"1"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["/nowhere/worker"], "'/nowhere/worker' does not exist: create it"),
        (["no-such-program"], "command not found: 'no-such-program' is not on PATH; install it"),
        (["./app.py"], "app.py' is not executable: chmod +x "),
        ([sys.executable, "lost.py"], "lost.py' does not exist: create it, or correct its path"),
    ],
)
def test_invalid_command(folder: Path, command: list[str], why: str) -> None:
    """A command that cannot be started is a usage error."""
    with started_dev(folder, "--", *command) as program:
        assert program.process.wait(30) == 2
        assert why in program.output
    (folder / "cm.toml").write_text(function("f", ["cat"]) + '[[tests]]\nfunction = "f"\nquery = 1\nresult = 1\n')
    done = program.run("test", "--", *command)
    assert done.returncode == 2
    assert why in done.stderr.decode()


def test_killed_dev(folder: Path) -> None:
    """All processes end when dev is killed."""
    (folder / "wrapper.sh").write_text(f"setsid sleep 300 & echo $! > sleep.pid; {sys.executable} app.py\n")
    with started_dev(folder, "--", "sh", "wrapper.sh") as program:
        program.wait_until_ready()
        pids = [program.state["worker"]["process"]["pid"], int((folder / "sleep.pid").read_text())]
        program.process.kill()
        program.process.wait()
        wait_until(lambda: all(map(gone, pids)), what="the end of the worker and its processes", seconds=30)


def test_ignored_sigterm(folder: Path) -> None:
    """Ctrl-C ends a worker that ignores SIGTERM."""
    (folder / "app.py").write_text("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORKER)
    with dev(folder) as program:
        worker = program.state["worker"]["process"]["pid"]
        program.interrupt()
        program.wait_for_output("stopping")
        program.interrupt()
        assert program.process.wait(30) == 0
        assert gone(worker)


# For scripts


def test_ready_file(folder: Path) -> None:
    """The ready file has everything that a script needs."""
    ready = folder / "ready.json"
    with started_dev(folder, "--ready-file", str(ready), "--", sys.executable, "app.py") as program:
        wait_until(ready.exists, what="the ready file", seconds=30)
        content = json.loads(ready.read_text())
        assert ready.stat().st_mode & 0o777 == 0o600
        assert content["consoleUrl"] == program.console_url
        assert Path(content["environment"]["MODULE_AUTH_TOKEN"]).is_file()
        headers = {"Authorization": f"Bearer {content['token']}"}
        request = urllib.request.Request(f"{content['callersUrl']}/functions/echo", b"5", headers)  # noqa: S310
        with urllib.request.urlopen(request) as response:  # noqa: S310
            assert response.read() == b"5"
        program.interrupt()
        assert program.process.wait(30) == 0
        assert not ready.exists()


@pytest.mark.parametrize(("function_", "status"), [("echo", 0), ("breach", 1)])
def test_fail_on_breach(folder: Path, function_: str, status: int) -> None:
    """A protocol violation decides on the exit status with --fail-on-breach."""
    with dev(folder, "--fail-on-breach") as program:
        program.call(function_, b"1")
        program.interrupt()
        assert program.process.wait(30) == status
        assert ("1 protocol violation" in program.output) is bool(status)


# Stable addresses


def test_runtime_dir(folder: Path) -> None:
    """A runtime directory keeps the token, the CA and the names."""
    directory = folder / "runtime"
    settings: list[dict[str, Any]] = []
    for _ in range(2):
        with started_dev(folder, "--no-worker", "--runtime-dir", str(directory)) as program:
            program.wait_for_output("docker run")
            variables = dict(line.split("=", 1) for line in (directory / "worker.env").read_text().splitlines())
            files = {name: Path(variables[name]).read_text() for name in ("MODULE_AUTH_TOKEN", "DEFAULT_CA_PATH")}
            settings.append({**files, "path": variables["MODULE_AUTH_TOKEN"], "callers": program.token})
    assert settings[0] == settings[1]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "worker.env").stat().st_mode & 0o777 == 0o600


def test_ports_of_a_runtime_dir(folder: Path) -> None:
    """A runtime directory keeps its ports, even if the usual ones are in use."""
    (folder / "other").mkdir()
    with started_dev(folder / "other", "--no-worker", port=None) as other:
        other.wait_for_output("docker run")
        settings = []
        for _ in range(2):
            with started_dev(folder, "--no-worker", "--runtime-dir", "runtime", port=None) as program:
                program.wait_for_output("docker run")
                settings.append((program.url, (folder / "runtime" / "worker.env").read_text()))
    assert settings[0] == settings[1]
    (folder / "runtime" / "ports.json").write_text("broken")
    with started_dev(folder, "--no-worker", "--runtime-dir", "runtime", port=None) as program:
        program.wait_for_output("docker run")


def test_used_runtime_dir(folder: Path) -> None:
    """One instance at a time can use a runtime directory."""
    options = ("--no-worker", "--runtime-dir", "runtime")
    with started_dev(folder, *options) as program:
        program.wait_for_output("docker run")
        done = run_cm_exec(folder, "dev", "--port", "0", *options)
        assert done.returncode == 2
        assert b"another cm-exec dev uses it" in done.stderr


def test_token_of_a_user(folder: Path) -> None:
    """The token of a user stays the same without a runtime directory."""
    (folder / "cm.toml").write_text(function("echo", ["cat"]))
    tokens = set()
    for _ in range(2):
        with started_dev(folder) as program:
            program.wait_for_output("console")
            tokens.add(program.token)
    assert len(tokens) == 1
    kept = folder / f"cm-exec-{os.getuid()}" / "callers-token"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_default_ports(folder: Path) -> None:
    """The first instance uses the default ports, and the next one other ports."""
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    with (
        started_dev(folder / "a", "--no-worker", port=None) as first,
        started_dev(folder / "b", "--no-worker", port=None) as second,
    ):
        first.wait_for_output("docker run")
        second.wait_for_output("docker run")
        ports = [int(program.url.rpartition(":")[2]) for program in (first, second)]
        assert ports[0] != ports[1]
        runtime_ports = {program.state["environment"]["RUNTIME_PORT"] for program in (first, second)}
        assert len(runtime_ports) == 2


# Other addresses and containers


def test_listen_on_all_addresses(folder: Path) -> None:
    """With --listen, the certificate has the given name, and each call needs the token."""
    options = ("--no-worker", "--listen", "0.0.0.0", "--name", "build.example", "--env-file", "worker.env")
    with started_dev(folder, *options) as program:
        program.wait_for_output("docker run")
        variables = dict(line.split("=", 1) for line in (folder / "worker.env").read_text().splitlines())
        assert variables["GET_JOB_URI"].startswith("https://build.example:")
        assert "GET_JOB_URI_V2" not in variables
        port = int(variables["RUNTIME_PORT"])
        context = ssl.create_default_context(cafile=variables["DEFAULT_CA_PATH"])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            context.wrap_socket(raw, server_hostname="build.example").close()
        host = f"build.example:{program.url.rpartition(':')[2]}"
        assert program.request("/state", headers={"Host": host}).status == 200
        assert program.request("/state", headers={"Host": host, "Authorization": ""}).status == 401
        assert program.request("/state", headers={"Host": "evil.example"}).status == 403


@pytest.mark.parametrize("address", ["0.0.0.0", "::1", "::"])
def test_one_time_code(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The code for the browser works on each address."""
    browser = folder / "browser"
    browser.write_text("#!/bin/sh\ncurl -s -o page -w '%{http_code}' \"$1\" > status\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with started_dev(folder, "--no-worker", "--listen", address, "--open") as program:
        program.wait_for_output("console")
        wait_until(lambda: (folder / "status").exists() and (folder / "status").read_text(), what="the answer")
        assert (folder / "status").read_text() == "303"


def test_invalid_address(folder: Path) -> None:
    """An address that cannot be used is a usage error."""
    with started_dev(folder, "--no-worker", "--listen", "192.0.2.1") as program:
        assert program.process.wait(30) == 2
        assert "cannot listen on 192.0.2.1" in program.output


def test_identity(folder: Path) -> None:
    """The identity of the callers can be set for all calls and for one call."""
    (folder / "cm.toml").write_text(function("who", 'printf "%s" "$CM_USER_ID"'))
    with started_dev(folder, "--user-id", "ada") as program:
        program.wait_until_ready()
        assert program.call("who") == b"ada"
        assert program.request("/functions/who", b"{}", headers={"X-User-Id": "eve"}).body == b"eve"


def test_docker_line(folder: Path) -> None:
    """The printed line with docker mounts files that any user can read."""
    with started_dev(folder, "--no-worker", "--env-file", "worker.env") as program:
        program.wait_for_output("docker run")
        line = next(line for line in program.output.splitlines() if line.startswith("docker run"))
        words = shlex.split(line)
        source, target, mode = words[words.index("-v") + 1].split(":")
        assert (source, mode) == (target, "ro")
        assert words[words.index("--env-file") + 1] == "worker.env"
        assert Path(source).stat().st_mode & 0o055 == 0o055
        for path in Path(source).iterdir():
            assert path.stat().st_mode & 0o044 == 0o044, path


def test_docker_line_without_secrets(folder: Path) -> None:
    """The secret addresses of the plain API are not in the printed line, but in a file of this user."""
    with started_dev(folder, "--no-worker") as program:
        program.wait_for_output("docker run", times=2)
        secret = program.state["environment"]["GET_JOB_URI_V2"].split("/")[3]
        lines = [line for line in program.output.splitlines() if line.startswith("docker run")]
        assert all(secret not in line for line in lines)
        words = shlex.split(lines[0])
        variables = Path(words[words.index("--env-file") + 1])
        assert secret in variables.read_text()
        assert variables.stat().st_mode & 0o777 == 0o600
        program.interrupt()
        assert program.process.wait(30) == 0
        assert not variables.exists()
