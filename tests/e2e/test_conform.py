"""`cm-exec conform` against cm-exec, the official SDKs and the original page's client."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cm_exec.conformance.rules import RULES
from cm_exec.conformance.stage import RuleBrokenError, Stage
from scripts.conformance.__main__ import CANDIDATES, Candidate, conform, published
from tests.support.dev_program import CM_EXEC
from tests.support.foreign_worker import CLIENT
from tests.support.official_sdks import python_command, typescript_command
from tests.support.processes import wait_until
from tests.support.toml import function

PUBLISHED = published()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.title.split()[0])
def test_the_published_table_is_true(candidate: Candidate) -> None:
    """Each rule holds, or does not, as docs/conformance.md says; all hold for cm-exec, in under two minutes."""
    if candidate.title.startswith("Python"):
        python_command()
    elif candidate.title.startswith("TypeScript"):
        typescript_command()
    report = conform(candidate)
    found = [rule["holds"] for rule in report["rules"]]
    told = dict(zip((rule["name"] for rule in report["rules"]), PUBLISHED[candidate.title], strict=True))
    assert {rule["name"]: rule["holds"] for rule in report["rules"]} == told, json.dumps(report, indent=1)
    assert report["holds"] is all(found)
    assert report["exitStatus"] == (0 if all(found) else 1)
    if candidate.title == "cm-exec":
        assert all(found)
        assert report["seconds"] < 120


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([CM_EXEC, "conform", *arguments], capture_output=True, check=False, text=True, timeout=200)


def test_missing_command() -> None:
    """A command that does not exist is a usage error."""
    done = run("--", "/nowhere/worker")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/worker" in done.stderr


def test_without_a_command_it_says_what_it_needs() -> None:
    done = run()
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


def test_table(tmp_path: Path) -> None:
    """The table names each rule and what the worker did."""
    worker = tmp_path / "worker.py"
    worker.write_text("print('I am no worker', flush=True)\n")
    done = run("--jobs", "8", "--", sys.executable, str(worker))
    assert done.returncode == 1
    assert "BROKEN  one-answer-each: answers each job once" in done.stdout
    assert "the worker ended with exit status 0" in done.stdout
    assert "| I am no worker" in done.stdout
    assert "rules: " in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("name", "why"), [("worker", "is not executable: chmod +x"), ("", "is a folder")])
def test_command_that_cannot_start(tmp_path: Path, name: str, why: str) -> None:
    """A command that cannot be started is a usage error with the reason."""
    (tmp_path / "worker").touch()
    done = run("--", f"{tmp_path}/{name}")
    assert done.returncode == 2
    assert why in done.stderr


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends the run at once with its findings, and leaves nothing behind."""
    (tmp_path / "tmp").mkdir()
    command = [CM_EXEC, "conform", "--jobs", "2", "--", "sh", "-c", f"touch {tmp_path}/$$; exec sleep 301"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        wait_until(lambda: len(pids(tmp_path)) == 2, what="two workers", seconds=60)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout.startswith("\n27 rules: 27 not played, in ")
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in pids(tmp_path)), what="the workers' end")
    assert not list((tmp_path / "tmp").iterdir())


def pids(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.isdecimal()]


def test_worker_that_never_polls(tmp_path: Path) -> None:
    """A worker that never polls ends the run after one start timeout, with the error of its client."""
    worker = tmp_path / "worker.sh"
    worker.write_text('while sleep 0.2; do curl -s -o /dev/null --cacert "$DEFAULT_CA_PATH" "$GET_JOB_URI"; done\n')
    done = run("--jobs", "8", "--start-timeout", "5", "--", "sh", str(worker))
    assert done.returncode == 1
    assert "did not poll within 5 s: a poll request was refused: no token: send the content of" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("27 rules: 8 broken, 19 not played, since the worker never polled, in ")


WORKER = (
    CLIENT
    + """
while True:
    status, body = send(os.environ["GET_JOB_URI"])
    if status != 200:
        continue
    job = json.loads(body)["computeModuleJobV1"]
    answer = json.dumps(CHANGE).encode()
    for result in (answer, INSTEAD):
        try:
            send(os.environ["POST_RESULT_URI"] + "/" + job["jobId"], result)
            break
        except urllib.error.HTTPError:
            pass
"""
)


@pytest.mark.parametrize(
    ("name", "change", "instead", "broken"),
    [
        ("any-json", "job['query']", "b'{}'", None),
        ("any-json", "0 if job['query'] is False else job['query']", "b'{}'", "answered '0' instead of the query"),
        ("any-json", "[True, [2]] if job['query'] == [1, [2]] else job['query']", "b'{}'", "instead of the query"),
        ("result-413", "job['query']", "b'too large'", None),
        ("result-413", "job['query']", "answer[:1000]", "answered with a part of the result, and no error"),
        ("result-413", "job['query']", "b''", "answered with nothing, and no error"),
    ],
)
def test_wrong_answer(name: str, change: str, instead: str, broken: str | None, tmp_path: Path) -> None:
    """A rule tells a wrong answer from the right one."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.replace("CHANGE", change).replace("INSTEAD", instead))
    rule = next(each for each in RULES if each.name == name)
    with Stage([sys.executable, str(worker)], "modern", start_timeout=60, **rule.options) as stage:
        if broken is None:
            rule.play(stage)
            return
        with pytest.raises(RuleBrokenError, match=broken):
            rule.play(stage)


def test_missing_function(tmp_path: Path) -> None:
    """A worker without the function "echo" gets a hint."""
    (tmp_path / "cm.toml").write_text(function("other", ["cat"]))
    done = run("--jobs", "8", "--", CM_EXEC, "run", "--config", str(tmp_path / "cm.toml"))
    assert done.returncode == 1
    assert "; the worker must serve a function `echo` that returns its query, in " in done.stdout.splitlines()[-1]
