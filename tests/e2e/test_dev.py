"""The real `cm-exec dev`: calls, reloads, faults, and its end."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.dev_program import CM_EXEC, DevProgram, run_cm_exec, started_dev
from tests.support.processes import children, wait_until
from tests.support.toml import function, served, service, table

ECHO = function("echo", ["cat"])
QUERY = '{"a": "\\" \u2028 é"}'.encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, *parts: str) -> None:
    """Save cm.toml as editors do: a new file under the old name."""
    draft = folder / ".cm.toml.draft"
    draft.write_text("".join(parts))
    draft.replace(folder / "cm.toml")


@pytest.fixture
def program(folder: Path) -> Iterator[DevProgram]:
    write(folder, ECHO, function("fails", "echo why >&2; exit 7"), function("slow", "sleep 300", timeout=0.2))
    with started_dev(folder) as running:
        running.wait_until_ready()
        yield running


def test_plain_request(program: DevProgram) -> None:
    """A plain HTTP request calls a function."""
    answer = program.request("/functions/echo", b'{"a": 1.10}')
    assert (answer.status, answer.body) == (200, b'{"a": 1.10}')
    assert answer.headers["X-Job-State"] == "done"


def test_curl_line(program: DevProgram) -> None:
    """The printed line with curl works."""
    line = next(line for line in program.output.splitlines() if "curl " in line)
    done = subprocess.run([*shlex.split(line.partition("call")[2]), "-sf"], capture_output=True, check=True)
    assert done.stdout == b"{}"


def test_blocking_browser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that stays in the foreground delays nothing."""
    browser = folder / "browser"
    browser.write_text("#!/bin/sh\necho $1 > opened\nwhile [ -e browser ]; do sleep 0.1; done\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    write(folder, ECHO)
    with started_dev(folder, "--open") as program:
        program.wait_for_output("the worker is connected")
        wait_until((folder / "opened").exists, what="the browser's start")
        assert program.token not in (folder / "opened").read_text()
        program.interrupt()
        assert program.process.wait(30) == 0
    browser.unlink()


def test_invoke(program: DevProgram) -> None:
    """The command `invoke --dev` finds the instance, and writes only the result."""
    done = program.run("invoke", "--dev", "echo", '{"b": 2}')
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"b": 2}', b"")


def test_invoke_failure(program: DevProgram) -> None:
    """The command `invoke --dev` exits with the status of the handler, and shows its stderr."""
    done = program.run("invoke", "--dev", "fails", "null")
    assert done.returncode == 7
    assert json.loads(done.stdout)["exitCode"] == 7
    assert b"why\n" in done.stderr


def test_invoke_timeout(program: DevProgram) -> None:
    """The command `invoke --dev` exits with 124 after a timeout."""
    assert program.run("invoke", "--dev", "slow", "null").returncode == 124


def test_invoke_with_an_address(program: DevProgram, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command `invoke --dev` accepts an address."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def invoke(url: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
        return run_cm_exec(elsewhere, "invoke", "--dev", "--dev-url", url, "echo", "5", variables=variables)

    for done in (invoke(program.console_url), invoke(program.url, CM_EXEC_DEV_TOKEN=program.token)):
        assert (done.returncode, done.stdout) == (0, b"5"), done.stderr
    refused = invoke(program.url)
    assert (refused.returncode, refused.stdout) == (4, b"")
    assert b"set CM_EXEC_DEV_TOKEN" in refused.stderr


def test_invoke_with_several_instances(program: DevProgram, folder: Path) -> None:
    """The command `invoke --dev` calls the instance of its own cm.toml, and names the others."""
    other = folder / "other"
    other.mkdir()
    (other / "cm.toml").write_text(ECHO)
    done = run_cm_exec(other, "invoke", "--dev", "echo", "5", variables={"XDG_RUNTIME_DIR": str(folder)})
    assert done.returncode == 4
    assert f"{program.url}  {folder / 'cm.toml'}" in done.stderr.decode()


def test_invoke_without_an_instance(folder: Path) -> None:
    """The command `invoke --dev` reports that no instance is running."""
    done = run_cm_exec(folder, "invoke", "--dev", "echo", "5")
    assert done.returncode == 4
    assert b"no cm-exec dev is running" in done.stderr


def test_stderr(program: DevProgram) -> None:
    """The stderr of a handler is on the terminal, and in the log of its job."""
    answer = program.request("/functions/fails", b"{}")
    program.wait_for_output("| why")
    job = f"/jobs/{answer.headers['X-Job-Id']}/log"
    wait_until(lambda: program.request(job).json["log"], what="the line of the job")
    (line,) = program.request(job).json["log"]
    assert (line["line"], line["stream"]) == ("why", "stderr")


def test_flood_of_stderr(folder: Path) -> None:
    """The next job's log is complete, the flood's last lines are kept, and the terminal shows a few."""
    write(
        folder, function("floods", "yes 'a line' | head -n 300000 >&2; echo last >&2"), function("says", "echo so >&2")
    )
    with started_dev(folder) as program:
        program.wait_until_ready()
        flood, *others = (
            program.request(f"/functions/{name}", b"1").headers["X-Job-Id"] for name in ("floods", "says", "says")
        )
        for job in others:
            log = f"/jobs/{job}/log"
            wait_until(partial(_has_lines, program, log), what="the log of a job")
            assert [line["line"] for line in program.request(log).json["log"]] == ["so"]
        last = program.request(f"/jobs/{flood}/log").json["log"][-1]["line"]
        assert last in {"last", "a line"}  # the worker drops lines that nobody can read in time
        more = "more lines; the console has the last ones"
        wait_until(lambda: program.call("says") == b"" and more in program.output, what=more)
        assert len(program.output.splitlines()) < 2000


def _has_lines(program: DevProgram, log: str) -> bool:
    return bool(program.request(log).json["log"])


def test_saved_handler(folder: Path) -> None:
    """A saved handler serves the next call."""
    handler = folder / "handler.py"
    handler.write_text("import sys\nfor line in sys.stdin: print('1', flush=True)\n")
    write(folder, function("f", [sys.executable, "handler.py"], mode="persistent"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        assert program.call("f") == b"1"
        handler.write_text("import sys\nfor line in sys.stdin: print('2', flush=True)\n")
        program.wait_for_output("handler.py changed")
        assert program.call("f") == b"2"


def test_reload(program: DevProgram) -> None:
    """A reload prints one line."""
    program.wait_for_output("the worker is connected")
    before = program.output
    write(program.folder, ECHO)
    program.wait_for_output("cm.toml changed; worker restarted")
    wait_until(lambda: program.state["worker"]["state"] == "ready", what="the new worker")
    assert len(program.output.removeprefix(before).splitlines()) == 1


def test_saved_cm_toml(program: DevProgram) -> None:
    """A saved cm.toml takes effect."""
    write(program.folder, ECHO, function("fresh", "printf fresh"))
    program.wait_for_output("cm.toml changed")
    assert program.call("fresh") == b"fresh"
    assert [each["name"] for each in program.state["functions"]] == ["echo", "fresh"]


def test_invalid_cm_toml(program: DevProgram) -> None:
    """The mistake in a saved cm.toml is printed, and the old worker continues."""
    worker = program.state["worker"]["process"]["pid"]
    write(program.folder, function("echo", ["cat"], timeout="30s"))
    program.wait_for_output("functions.echo.timeout: expected a number of seconds")
    assert "functions.echo.timeout" in program.state["worker"]["configurationError"]
    assert program.call("echo", b"1") == b"1"
    assert program.state["worker"]["process"]["pid"] == worker
    write(program.folder, function("echo", "printf right"))
    program.wait_for_output("cm.toml changed")
    assert program.call("echo", b"1") == b"right"
    assert program.state["worker"]["configurationError"] is None


def test_jobs_saved_as_tests(program: DevProgram, folder: Path) -> None:
    """Every saved test passes, and a job that would make cm.toml invalid is refused with the reason."""

    def save(call: str) -> "tuple[int, str]":
        answer = program.request(f"/jobs/{program.request(call, QUERY).headers['X-Job-Id']}/test", b"")
        return answer.status, json.loads(answer.body).get("error", "")

    config = folder / "cm.toml"
    real = folder / "real.toml"
    real.write_bytes(b"\xef\xbb\xbf# \xc3\xa9\r\n" + config.read_bytes().replace(b"\n", b"\r\n"))
    config.unlink()
    config.symlink_to(real)
    job = program.request("/functions/echo", QUERY).headers["X-Job-Id"]
    assert [program.request(f"/jobs/{job}/test", b"").status for _ in range(3)] == [201] * 3
    assert save("/functions/fails") == (201, "")
    before = config.read_bytes()
    status, why = save("/functions/nothing")
    assert status == 409
    assert "cm.toml is not valid with this test: tests[4].error: expected " in why
    assert config.read_bytes() == before
    assert config.is_symlink()
    assert before.startswith(b"\xef\xbb\xbf# \xc3\xa9\r\n")
    tested = run_cm_exec(folder, "test")
    assert tested.returncode == 0, tested.stdout
    assert b"4 passed" in tested.stdout


def test_file_of_a_handler(folder: Path) -> None:
    """A file that a handler writes is no reason to restart."""
    write(folder, function("f", "echo x >> result.txt; printf done"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        worker = program.state["worker"]["process"]["pid"]
        assert program.call("f") == b"done"
        (folder / "other.py").write_text("")  # code is a reason: once this is noticed, result.txt was, too
        program.wait_for_output("changed")
        assert "other.py changed" in program.output
        assert "result.txt" not in program.output
        assert program.state["worker"]["process"]["pid"] != worker


def test_new_folder(program: DevProgram) -> None:
    """A new folder is watched, too."""
    package = program.folder / "package"
    package.mkdir()
    script = package / "handler.py"
    deadline = time.monotonic() + 30
    number = 0
    while "handler.py changed" not in program.output:  # the watch comes a moment after the folder
        assert time.monotonic() < deadline
        number += 1
        script.write_text(f"# {number}\n")
        time.sleep(0.2)


def test_job_during_a_restart(folder: Path) -> None:
    """The old worker completes a job that is in progress."""
    write(folder, function("f", "touch began; while [ ! -e go ]; do sleep 0.05; done; printf old"))
    with started_dev(folder, "--concurrency", "2") as program:
        program.wait_until_ready()
        results: list[bytes] = []
        caller = threading.Thread(target=lambda: results.append(program.call("f")))
        caller.start()
        wait_until((folder / "began").exists, what="the start of the job")
        write(folder, function("f", "printf new"))
        program.wait_for_output("cm.toml changed")
        assert program.call("f") == b"new"
        assert not results
        (folder / "go").touch()
        caller.join(60)
        assert results == [b"old"]
        assert program.state["breachCount"] == 0


def test_services(folder: Path) -> None:
    """The state of each service is available."""
    lines = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "envelope_handler.py")]
    write(
        folder,
        service("model", lines, processes=2) + served("embed", by="model") + served("rank", by="model"),
        service("broken", "echo no licence >&2; exit 3") + served("f", by="broken") + served("g", by="broken"),
        function("loop", ["sed", "-u", "p;d"], mode="persistent"),
        table("launcher", drain_timeout=1),
    )
    with started_dev(folder, "--concurrency", "4") as program:
        program.wait_until_ready()

        def states() -> dict[str, tuple[str, str, int]]:
            found = program.state["worker"]["services"]
            return {each["name"]: (each["kind"], each["state"], each["processes"]) for each in found}

        ready = {"model": ("lines", "ready", 2), "loop": ("lines", "ready", 4)}
        wait_until(lambda: states() == {**ready, "broken": ("lines", "failed", 0)}, what="their states")
        services = {each["name"]: each for each in program.state["worker"]["services"]}
        assert "exit status 3" in services["broken"]["lastFailure"]
        program.wait_for_output("broken        the process")
        assert services["model"]["lastFailure"] is None
        assert min(each["since"] for each in services.values()) > time.time() * 1000 - 120_000
        program.request("/functions/rank?wait=false", json.dumps(["forget", str(folder / "has")]).encode())
        wait_until((folder / "has").exists, what="the job in the service")
        in_hand = {each["name"]: each["inHand"] for each in program.state["worker"]["services"]}
        assert in_hand == {"model": 1, "broken": 0, "loop": 0}
        write(folder, ECHO)
        program.wait_for_output("cm.toml changed; worker restarted")
        assert program.state["worker"]["services"] == []


def test_concurrency(folder: Path) -> None:
    """Its concurrency is that of its worker, even if cm.toml has another: three jobs wait for each other."""
    meets = function("meets", "touch $CM_JOB_ID; until [ $(ls -d *-*-*-*-* | wc -l) = 3 ]; do sleep 0.05; done")
    write(folder, meets, table("launcher", concurrency=1))
    with started_dev(folder, "--concurrency", "3") as program:
        program.wait_until_ready()
        for _ in range(3):
            program.request("/functions/meets?wait=false", b"{}")
        wait_until(lambda: program.state["queue"]["done"] == 3, what="the end of all three")


def test_calls_during_a_restart(folder: Path) -> None:
    """All calls during a restart get their results."""
    write(folder, function("f", ["cat"]))
    with started_dev(folder, "--concurrency", "4") as program:
        program.wait_until_ready()
        answers: list[bytes] = []
        stop = threading.Event()

        def call_on() -> None:
            while not stop.is_set():
                answers.append(program.call("f", b"1"))

        callers = [threading.Thread(target=call_on) for _ in range(3)]
        for caller in callers:
            caller.start()
        for round_ in range(3):
            write(folder, function("f", ["cat"], timeout=100 + round_))
            program.wait_for_output("cm.toml changed", times=round_ + 1)
        stop.set()
        for caller in callers:
            caller.join(60)
        assert answers
        assert set(answers) == {b"1"}
        counts = program.state["queue"]
        assert (counts["lost"], counts["failed"], counts["running"]) == (0, 0, 0)
        assert program.state["breachCount"] == 0


def test_killed_worker(folder: Path) -> None:
    """A killed worker is started again, and its job is lost."""
    write(folder, ECHO, function("hangs", "touch began; sleep 300"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        job = program.request("/functions/hangs?wait=false", b"{}").json["jobId"]
        wait_until((folder / "began").exists, what="the start of the job")
        os.kill(program.state["worker"]["process"]["pid"], signal.SIGKILL)
        program.wait_for_output("the worker was killed by SIGKILL, starts again in 0.5 s")
        assert not running_in(folder, "sleep")
        wait_until(lambda: program.request(f"/jobs/{job}").json["state"] == "lost", what="the loss of the job")
        assert program.call("echo", b"1") == b"1"


def test_server_of_a_killed_worker(folder: Path) -> None:
    """The server of a killed worker is ended, since it would hold the port of the next one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "http_server.py"), str(port)]
    write(folder, service("s", server, protocol="http", url=f"http://127.0.0.1:{port}") + served("f"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        before = json.loads(program.call("f"))["pid"]
        os.kill(program.state["worker"]["process"]["pid"], signal.SIGKILL)
        program.wait_for_output("the worker was killed by SIGKILL, starts again in 0.5 s")
        assert json.loads(program.call("f"))["pid"] != before


def running_in(folder: Path, name: str) -> list[str]:
    """Return the processes of this name whose working directory is the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").resolve() == folder and (process / "comm").read_text().strip() == name:
                found.append(process.name)
    return found


def test_ctrl_c(program: DevProgram) -> None:
    """Ctrl-C ends the command with status 0, and leaves nothing behind."""
    worker = program.state["worker"]["process"]["pid"]
    program.interrupt()
    assert program.process.wait(30) == 0
    assert not Path(f"/proc/{worker}").exists()
    assert not list((program.folder / f"cm-exec-{os.getuid()}").glob("dev-*"))
    assert "Traceback" not in program.output


def test_second_ctrl_c(folder: Path) -> None:
    """Ctrl-C waits for the end of a job, and a second one does not."""
    write(folder, function("f", "touch began; while [ ! -e go ]; do sleep 0.05; done; printf over; touch over"))
    with started_dev(folder) as program:
        program.wait_until_ready()
        program.request("/functions/f?wait=false", b"{}")
        wait_until((folder / "began").exists, what="the start of the job")
        program.interrupt()
        program.wait_for_output("stopping")
        assert program.process.poll() is None
        program.interrupt()
        assert program.process.wait(30) == 0
        assert not (folder / "over").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the worker of a killed dev ends by itself on Linux only")
def test_killed_dev(program: DevProgram) -> None:
    """The worker ends when the command is killed."""
    worker = program.state["worker"]["process"]["pid"]
    program.process.kill()
    program.process.wait()
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), what="the end of the worker", seconds=30)


def test_handler_with_the_name_of_a_module(folder: Path) -> None:
    """A handler with the name of a module that cm-exec uses does no harm."""
    (folder / "click.py").write_text("raise SystemExit('the handler was imported')\n")
    (folder / "json.py").write_text("raise SystemExit('the handler was imported')\n")
    write(folder, ECHO)
    with started_dev(folder) as program:
        program.wait_until_ready()
        assert program.call("echo", b"1") == b"1"


# Its options and settings


def test_faults(folder: Path) -> None:
    """Faults are injected."""
    write(folder, ECHO)
    with started_dev(folder, "--fault", "result.reset*2", "--fault", "poll.503*3") as program:
        program.wait_until_ready()
        assert program.call("echo", b"1") == b"1"
        assert "the result of job" in program.output


def test_env_file(folder: Path) -> None:
    """Another worker can connect with an env file, as `docker run --env-file` reads it."""
    with started_dev(folder, "--no-worker", "--env-file", "worker.env") as program:
        program.wait_for_output("worker.env")
        write(folder, ECHO)
        lines = (folder / "worker.env").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        with subprocess.Popen([CM_EXEC, "run"], cwd=folder, env={**os.environ, **variables}) as worker:
            try:
                assert program.call("echo", b"1") == b"1"
            finally:
                worker.terminate()


def test_export_lines(folder: Path) -> None:
    """A shell can read the printed export lines."""
    with started_dev(folder, "--no-worker", "--env-style", "connection-file") as program:
        program.wait_for_output("docker run --rm")
        exports = "\n".join(line for line in program.output.splitlines() if line.startswith("export "))
        shell = subprocess.run(
            f"{exports}\ncat $CONNECTION_TO_RUNTIME", shell=True, capture_output=True, check=True, env={}
        )
        assert json.loads(shell.stdout)["host"] == "localhost"
        assert "--network host" in program.output


def test_missing_cm_toml(folder: Path) -> None:
    """Without a cm.toml, the command says what to do."""
    with started_dev(folder) as program:
        assert program.process.wait(30) == 3
        assert "cm-exec init" in program.output


def test_invalid_cm_toml_at_the_start(folder: Path) -> None:
    """A cm.toml that is invalid at the start ends the command with status 3."""
    write(folder, table("functions"))
    with started_dev(folder) as program:
        assert program.process.wait(30) == 3
        assert "Traceback" not in program.output


def test_used_port(folder: Path) -> None:
    """A port in use is reported."""
    write(folder, ECHO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started_dev(folder, port=port) as program:
            assert program.process.wait(30) == 2
            assert f"{port}: Address already in use" in program.output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["dev"], "dev needs starlette, watchfiles"),
        (["dev", "--", "cat"], "dev needs starlette, watchfiles"),
        (["test", "--", "cat"], "test with a command needs starlette"),
        (["conform", "--", "cat"], "conform needs starlette"),
        (["bench"], "bench needs starlette"),
    ],
)
def test_missing_extra(folder: Path, arguments: list[str], what: str) -> None:
    """Without the extra, the command says how to install it."""
    write(folder, ECHO)
    boot = (
        "import sys; sys.modules['starlette'] = sys.modules['watchfiles'] = None;"
        f"from cm_exec.cli.program import main; main(*{arguments})"
    )
    done = subprocess.run([sys.executable, "-c", boot], cwd=folder, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"cm-exec: {what}; install them with: pip install 'cm-exec[dev]'")


@pytest.mark.parametrize("command", ["run", "invoke", "check"])
def test_imports_of_other_commands(command: str, folder: Path) -> None:
    """A plain `pip install cm-exec` has all other commands: they import nothing of the extra."""
    code = (
        "import sys, importlib; from cm_exec.cli import program;"
        f"importlib.import_module('cm_exec.cli.{command}');"
        "print(sorted({'starlette', 'uvicorn', 'httptools', 'trustme', 'watchfiles'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_foreign_page(program: DevProgram) -> None:
    """A page from another site can call nothing."""
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert program.request("/functions/echo", b"1", headers=headers).status == 403, headers
    assert program.state["latestJob"] == 0


def test_guardian(program: DevProgram) -> None:
    """The worker is the only child of its guardian."""
    (guardian,) = children(program.process.pid)
    (worker,) = children(guardian.pid)
    assert worker.pid == program.state["worker"]["process"]["pid"]
