"""`cm-exec test` and `invoke` against functions that another program runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dev_program import CM_EXEC, dev_environment, started_dev
from tests.support.foreign_worker import CLIENT
from tests.support.toml import function

TESTS = """
[[tests]]
function = "echo"
query = 21
result = 21

[[tests]]
function = "fails"
query = 1
error_contains = "no such luck"

[[tests]]
function = "echo"
name = "is wrong"
query = 1
result = 2
"""
WORKER = (
    CLIENT
    + """
while True:
    status, body = send(os.environ["GET_JOB_URI"])
    if status == 200:
        job = json.loads(body)["computeModuleJobV1"]
        result = {"exception": "no such luck: Traceback"} if job["queryType"] == "fails" else job["query"]
        send(os.environ["POST_RESULT_URI"] + "/" + job["jobId"], json.dumps(result).encode())
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    functions = function("echo", ["cat"]) + function("fails", "echo no such luck >&2; exit 3")
    (tmp_path / "cm.toml").write_text(functions + TESTS)
    (tmp_path / "app.py").write_text(WORKER)
    return tmp_path


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**dev_environment(folder), **variables}
    return subprocess.run(
        [CM_EXEC, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def check(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 1, done.stderr
    assert "FAIL echo: is wrong" in done.stdout
    assert "$: expected 2, found 1" in done.stdout
    assert "3 tests: 1 failed, 2 passed" in done.stdout


def test_any_worker(folder: Path) -> None:
    """The tests run against any worker."""
    done = run(folder, "test", "--", sys.executable, "app.py")
    check(done)
    assert f"again: cm-exec test 'echo: is wrong' -- {sys.executable} app.py\n" in done.stdout


def test_the_tests_run_against_a_running_dev(folder: Path) -> None:
    with started_dev(folder, "--concurrency", "2") as program:
        program.wait_until_ready()
        done = run(folder, "test", "--dev")
        check(done)
        again = done.stdout.partition("again: cm-exec ")[2].partition("\n")[0]
        assert again == "invoke --dev echo 1"
        assert run(folder, *again.split()).stdout == "1"
        done = run(folder, "test", "--dev-url", program.console_url)
        check(done)
        assert f"again: cm-exec invoke --dev-url {program.url}/ echo 1\n" in done.stdout
        assert run(folder, "test", "--dev", "fails").returncode == 0


def test_a_stream_that_breaks_off(folder: Path) -> None:
    """It fails its own test only, for the handler's reason, as the function does here; so does `invoke`."""
    stream = function("half", "cat >/dev/null; echo 1; echo why >&2; exit 5", stream=True)
    endless = function("endless", "cat >/dev/null; echo 1; sleep 300", stream=True, timeout=0.5)
    test = "[[tests]]\nquery = 1\n"
    tests = f"{test}function = 'half'\nerror = 'exit'\nerror_contains = 'why'\n"
    tests += f"{test}function = 'endless'\nerror = 'timeout'\n{test}function = 'echo'\nresult = 1\n"
    (folder / "cm.toml").write_text(function("echo", ["cat"]) + stream + endless + tests)
    with started_dev(folder) as program:
        program.wait_until_ready()
        done = run(folder, "test", "--dev")
        invoked = run(folder, "invoke", "--dev", "half", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (invoked.returncode, invoked.stdout) == (5, "1\n")
    assert "failed with exit status 5" in invoked.stderr
    assert "ASGI" not in program.output


def test_a_result_that_looks_like_an_error(folder: Path) -> None:
    """Where cm-exec runs the functions, only its own error results are errors: a handler may return any object."""
    test = "[[tests]]\nfunction = 'echo'\n"
    bodies = ['{"error": "none"}', '{"exception": "none"}', '{"error": "a", "reason": "exit"}']
    tests = "".join(f"{test}query_json = '{body}'\nresult_json = '{body}'\n" for body in bodies)
    (folder / "cm.toml").write_text(function("echo", ["cat"]) + tests)
    with started_dev(folder) as program:
        program.wait_until_ready()
        done = run(folder, "test", "--dev")
        assert done.returncode == 0, done.stdout
        assert program.request("/functions/echo", bodies[0].encode()).headers["X-Job-State"] == "done"


@pytest.mark.parametrize("remote", [["--", CM_EXEC, "run"], ["--", sys.executable, "app.py"]])
def test_what_an_error_result_contains(remote: list[str], folder: Path) -> None:
    """Its whole text, and the stderr in it, are searched as they are where the function runs here."""
    test = "[[tests]]\nfunction = 'fails'\nquery = 1\n"
    functions = function("fails", "echo the cause >&2; exit 3")
    (folder / "cm.toml").write_text(f"{functions}{test}error_contains = 'the cause'\n")
    (folder / "app.py").write_text(WORKER.replace("no such luck: Traceback", "no such luck: Traceback: the cause"))
    done = run(folder, "test", *remote)
    assert done.returncode == 0, done.stdout


def test_names_are_apart_from_the_command(folder: Path) -> None:
    done = run(folder, "test", "--junit", "report.xml", "fails", "--", sys.executable, "app.py")
    assert (done.returncode, "1 test: 1 passed" in done.stdout) == (0, True)
    assert "no such luck" not in (folder / "report.xml").read_text()


def test_without_a_dev_it_exits_with_4(folder: Path) -> None:
    done = run(folder, "test", "--dev")
    assert done.returncode == 4
    assert "no cm-exec dev is running with cm.toml" in done.stderr


def test_worker_that_exits(folder: Path) -> None:
    """A worker that exits at once is exit code 4, with its log."""
    done = run(folder, "test", "--", sys.executable, "-c", "raise SystemExit('no model')")
    assert done.returncode == 4
    assert "the worker ended with exit status 1; its log ends:\n  no model" in done.stderr


def test_a_command_and_dev_are_one_too_many(folder: Path) -> None:
    assert run(folder, "test", "--dev", "--", "true").returncode == 2


def test_dev_url(folder: Path) -> None:
    """The option --dev-url alone selects dev, and its variable alone does not."""
    nowhere = "http://127.0.0.1:1"
    assert run(folder, "invoke", "--dev-url", nowhere, "echo", "5").returncode == 4
    done = run(folder, "invoke", "echo", "5", CM_EXEC_DEV_URL=nowhere)
    assert (done.returncode, done.stdout) == (0, "5")


def test_invoke_gives_dev_the_caller_s_identity(folder: Path) -> None:
    (folder / "header").write_text("Bearer ada\n")
    script = 'printf \'{"user": "%s", "header": "%s"}\' "$CM_USER_ID" "$CM_AUTH_HEADER"'
    (folder / "cm.toml").write_text(function("who", script, credentials=True))
    with started_dev(folder) as program:
        program.wait_until_ready()
        done = run(folder, "invoke", "--dev", "--user-id", "ada", "--auth-header-file", "header", "who", "{}")
        assert json.loads(done.stdout) == {"user": "ada", "header": "Bearer ada"}, done.stderr
