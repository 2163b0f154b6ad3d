"""`cm-exec conform` against cm-exec, the official SDKs and the original page's client."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.conformance.__main__ import CANDIDATES, Candidate, conform, published
from tests.support.dev_program import CM_EXEC
from tests.support.official_sdks import python_command, typescript_command

PUBLISHED = published()


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


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    done = run("--", "/nowhere/worker")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/worker" in done.stderr


def test_without_a_command_it_says_what_it_needs() -> None:
    done = run()
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


def test_the_table_names_each_rule_and_what_a_worker_did(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("print('I am no worker', flush=True)\n")
    done = run("--jobs", "8", "--", sys.executable, str(worker))
    assert done.returncode == 1
    assert "BROKEN  one-answer-each: answers each job once" in done.stdout
    assert "the worker ended with exit status 0" in done.stdout
    assert "| I am no worker" in done.stdout
    assert "rules: " in done.stdout.splitlines()[-1]
