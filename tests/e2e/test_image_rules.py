"""`cm-exec check --image-rules`, in the image that this machine is."""

import os

import pytest

from tests.support.bench import Bench
from tests.support.toml import function


def rows(output: bytes) -> dict[str, str]:
    """Each rule with its verdict."""
    lines = output.decode().partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1] for line in lines}


def own_verdict() -> str:
    return "ok" if os.geteuid() else "broken"


@pytest.fixture
def home(bench: Bench) -> dict[str, str]:
    return {"HOME": str(bench.folder)}


def test_table(bench: Bench, home: dict[str, str]) -> None:
    """Each rule has a row; what cannot be checked is listed."""
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", "--image-rules", environment=home)
    verdicts = rows(done.stdout)
    assert verdicts.pop("user") == own_verdict()
    assert set(verdicts.values()) == {"ok"}
    assert done.returncode == (0 if os.geteuid() else 3)
    assert b"Not checked, since it is invisible from inside" in done.stdout


def test_broken_rule(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]) + function("lost", ["/no/such/program"]))
    arguments = ("check", "--image-rules", "--ignore", "user")
    done = bench.cm_exec(*arguments, environment=home)
    assert (done.returncode, rows(done.stdout)["handlers"]) == (3, "broken")
    assert b"functions.lost: command: '/no/such/program' does not exist" in done.stdout
    assert done.stderr.startswith(b"cm-exec: the image breaks 1 of ")
    assert done.stderr.endswith(b": handlers\n")
    ignored = bench.cm_exec(*arguments, "--ignore", "handlers", environment=home)
    assert (ignored.returncode, rows(ignored.stdout)["handlers"]) == (0, "ignored")


def test_invalid_config(bench: Bench, home: dict[str, str]) -> None:
    bench.write("[functions.f]\ncomand = 1\n")
    done = bench.cm_exec("check", "--image-rules", environment=home)
    assert (done.returncode, rows(done.stdout)["config"]) == (3, "broken")
    assert b"functions.f.comand: unknown key; did you mean command?" in done.stdout


def test_empty_path(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["/bin/cat"]))
    done = bench.cm_exec("check", "--image-rules", environment={**home, "PATH": str(bench.folder)})
    verdicts = rows(done.stdout)
    assert (verdicts["tee"], verdicts["echo"], verdicts["handlers"]) == ("broken", "broken", "ok")
    assert b"Traceback" not in done.stderr


def test_platform_files(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]))
    connection = bench.replica.modern()
    found = bench.cm_exec("check", "--image-rules", environment={**home, **connection})
    assert rows(found.stdout)["files"] == "ok"
    late = bench.cm_exec("check", "--image-rules", environment={**home, **connection, "BUILD2_TOKEN": "/no/such/file"})
    assert rows(late.stdout)["files"] == "warning"


def test_platform_variables(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", "--image-rules", environment={**home, "CLIENT_SECRET": "swordfish"})
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
def test_usage_errors(bench: Bench, arguments: list[str], message: bytes) -> None:
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
