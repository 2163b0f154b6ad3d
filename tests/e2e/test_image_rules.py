"""`cm-exec check --image-rules`, in the image that this machine is."""

import os

import pytest

from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness


def rows(output: bytes) -> dict[str, str]:
    """Each rule with its verdict."""
    lines = output.decode().partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1] for line in lines}


def own_verdict() -> str:
    return "ok" if os.geteuid() else "broken"


@pytest.fixture
def home(harness: WorkerHarness) -> dict[str, str]:
    return {"HOME": str(harness.folder)}


def test_table(harness: WorkerHarness, home: dict[str, str]) -> None:
    """Each rule has a row; what cannot be checked is listed."""
    harness.write(function("f", ["cat"]))
    done = harness.cm_exec("check", "--image-rules", environment=home)
    verdicts = rows(done.stdout)
    assert verdicts.pop("user") == own_verdict()
    assert set(verdicts.values()) == {"ok"}
    assert done.returncode == (0 if os.geteuid() else 3)
    assert b"Not checked, since it is invisible from inside" in done.stdout


def test_broken_rule(harness: WorkerHarness, home: dict[str, str]) -> None:
    harness.write(function("f", ["cat"]) + function("lost", ["/no/such/program"]))
    arguments = ("check", "--image-rules", "--ignore", "user")
    done = harness.cm_exec(*arguments, environment=home)
    assert (done.returncode, rows(done.stdout)["handlers"]) == (3, "broken")
    assert b"functions.lost: command: '/no/such/program' does not exist" in done.stdout
    assert done.stderr.startswith(b"cm-exec: the image breaks 1 of ")
    assert done.stderr.endswith(b": handlers\n")
    ignored = harness.cm_exec(*arguments, "--ignore", "handlers", environment=home)
    assert (ignored.returncode, rows(ignored.stdout)["handlers"]) == (0, "ignored")


def test_invalid_config(harness: WorkerHarness, home: dict[str, str]) -> None:
    harness.write("[functions.f]\ncomand = 1\n")
    done = harness.cm_exec("check", "--image-rules", environment=home)
    assert (done.returncode, rows(done.stdout)["config"]) == (3, "broken")
    assert b"functions.f.comand: unknown key; did you mean command?" in done.stdout


def test_empty_path(harness: WorkerHarness, home: dict[str, str]) -> None:
    harness.write(function("f", ["/bin/cat"]))
    done = harness.cm_exec("check", "--image-rules", environment={**home, "PATH": str(harness.folder)})
    verdicts = rows(done.stdout)
    assert (verdicts["tee"], verdicts["echo"], verdicts["handlers"]) == ("broken", "broken", "ok")
    assert b"Traceback" not in done.stderr


def test_platform_files(harness: WorkerHarness, home: dict[str, str]) -> None:
    harness.write(function("f", ["cat"]))
    connection = harness.replica.modern()
    found = harness.cm_exec("check", "--image-rules", environment={**home, **connection})
    assert rows(found.stdout)["files"] == "ok"
    late = harness.cm_exec(
        "check", "--image-rules", environment={**home, **connection, "BUILD2_TOKEN": "/no/such/file"}
    )
    assert rows(late.stdout)["files"] == "warning"


def test_platform_variables(harness: WorkerHarness, home: dict[str, str]) -> None:
    harness.write(function("f", ["cat"]))
    done = harness.cm_exec("check", "--image-rules", environment={**home, "CLIENT_SECRET": "swordfish"})
    assert rows(done.stdout)["variables"] == "warning"
    assert b"CLIENT_SECRET" in done.stdout
    assert b"swordfish" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-rules", "--ignore", "hanlders"], b"did you mean handlers?"),
        (["--image-rules", "--ignore", "xyz"], b"the rules are user, platform, "),
        (["--ignore", "shell"], b"--ignore is for --image-rules"),
    ],
)
def test_usage_errors(harness: WorkerHarness, arguments: list[str], message: bytes) -> None:
    harness.write(function("f", ["cat"]))
    done = harness.cm_exec("check", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
