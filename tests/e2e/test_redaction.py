"""A caller's token is in no log line and in no error result, in whatever form or pieces a handler prints it."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.answers import error_of
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]

TOKEN = "eyJhbGciOiJFUzI1NiJ9.0123456789abcdefghijklmnopqrstuvwxyz"
TEMPORARY = "temporary-ABCDEFGHIJKLMNOPQRSTUVWXYZ-9876543210"
MEMBERS = {"authHeader": f"Bearer {TOKEN}", "temporaryCredentialsAuthToken": TEMPORARY}
PIECE = 10
"""A piece of a token of this length is a leak."""

BARE = "${CM_AUTH_HEADER#Bearer }"


def leaks(text: str, *secrets: str) -> set[str]:
    pieces = {secret[n : n + PIECE] for secret in secrets for n in range(len(secret) - PIECE + 1)}
    return {piece for piece in pieces if piece in text}


def check_no_leak(harness: WorkerHarness, config: str) -> str:
    """Run one failing job, and return its error result after checking it and the log."""
    worker = harness.start(config, "--log-level", "debug")
    result = harness.runtime.result(harness.runtime.submit("f", b"1", members=MEMBERS))
    error_of(result)
    body = result.body.decode()
    worker.stop()
    assert leaks(worker.log + body, TOKEN, TEMPORARY) == set()
    return body


@pytest.mark.parametrize("mode", ["spawn", "persistent"])
def test_without_its_scheme(harness: WorkerHarness, mode: str) -> None:
    """The token of `Bearer X` is redacted where only X appears."""
    if mode == "spawn":
        config = function("f", f'echo "token: {BARE}" >&2; exit 1', credentials=True)
        assert "token: " in check_no_leak(harness, config)
    else:
        script = (
            "import json,sys\nfor line in sys.stdin:\n job=json.loads(line)\n"
            " print('token:', job['authHeader'].split()[1], file=sys.stderr, flush=True)\n sys.exit(1)\n"
        )
        command = [sys.executable, "-S", "-E", "-c", script]
        config = function("f", command, mode="persistent", envelope=True, credentials=True)
        assert "token: " in check_no_leak(harness, config)


@pytest.mark.parametrize("descriptor", [1, 2], ids=["stdout", "stderr"])
def test_across_two_writes(harness: WorkerHarness, descriptor: int) -> None:
    """A token that is written in two parts is redacted as a whole."""
    parts = f"""t={BARE}; printf 'token: %.20s' "$t"; sleep 0.3; printf '%s\\n' "${{t#????????????????????}}" """
    script = f"({parts}) >&{descriptor}; exit 1"
    check_no_leak(harness, function("f", script, credentials=True, result_fd=3))


@pytest.mark.parametrize("padding", [0, 1, 7, 30])
def test_across_the_pieces_of_a_long_line(harness: WorkerHarness, padding: int) -> None:
    """A line that is logged in pieces, or of which an error result has the end, is cut within no token."""
    program = "import os; print((os.environ['CM_AUTH_HEADER'].split()[1] + '-') * 4000, end='')"
    repeat = f'{sys.executable} -S -E -c "{program}" >&2'
    script = f"printf '%{padding}s' '' >&2; {repeat}; exit 1"
    check_no_leak(harness, function("f", script, credentials=True))


@pytest.mark.parametrize("padding", [200, 220, 240, 250])
def test_in_the_output_of_an_error(harness: WorkerHarness, padding: int) -> None:
    """`output` shows wrong output without the token, also where it ends within the token."""
    script = f"printf '%{padding}s%s' '' \"{BARE}\""
    body = check_no_leak(harness, function("f", script, credentials=True, output="json"))
    assert json.loads(body)["reason"] == "invalid_output"
    assert json.loads(body)["output"].startswith(" " * 150)


def test_late_stderr(harness: WorkerHarness) -> None:
    """What a persistent process writes after its answer belongs to that job, not to the next one."""
    worker = harness.start(function("f", LOOP, mode="persistent"))
    harness.folder.joinpath("go").touch()
    for _ in range(15):
        first = harness.runtime.submit("f", b'["late_noise", "go", "words of the job before\\n"]')
        second = harness.runtime.submit("f", b'["exit", 3]')
        assert bytes(harness.runtime.result(first).body).strip() == b'"first"'
        error = error_of(harness.runtime.result(second))
        assert error["exitCode"] == 3
        assert "stderr" not in error, error
    worker.stop()
    assert worker.log.count("words of the job before") == 15


LATE = """
import json, os, pathlib, sys
for line in sys.stdin:
    job = json.loads(line)
    if job["query"] == "fail":
        sys.exit(3)
    print(json.dumps({"jobId": job["jobId"], "result": 1}), flush=True)
    os.write(2, b"the caller had " + job["authHeader"].split()[1].encode())
    pathlib.Path(job["query"]).touch()
"""


def test_late_stderr_with_a_token(harness: WorkerHarness) -> None:
    """Such words are redacted with the secrets of the job that they belong to."""
    command = [sys.executable, "-S", "-E", "-c", LATE]
    worker = harness.start(function("f", command, mode="persistent", envelope=True, credentials=True))
    for number in range(10):
        written = harness.folder / f"written-{number}"
        first = harness.runtime.submit("f", json.dumps(str(written)).encode(), members=MEMBERS)
        wait_until(written.exists, what="late words on stderr")
        second = harness.runtime.submit("f", b'"fail"', members={"authHeader": f"Bearer another-caller-{number}"})
        assert bytes(harness.runtime.result(first).body).strip() == b"1"
        error = error_of(harness.runtime.result(second))
        assert error["exitCode"] == 3
        assert "stderr" not in error, error
    worker.stop()
    assert leaks(worker.log, TOKEN) == set()
    assert worker.log.count("the caller had") == 10
