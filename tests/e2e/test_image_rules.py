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


def test_each_rule_has_a_line_and_what_no_one_can_see_is_told(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", "--image-rules", environment=home)
    verdicts = rows(done.stdout)
    assert verdicts.pop("user") == own_verdict()
    assert set(verdicts.values()) == {"ok"}
    assert done.returncode == (0 if os.geteuid() else 3)
    assert b"Not to be seen from inside" in done.stdout


def test_a_broken_rule_is_an_exit_status_and_can_be_ignored(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]) + function("lost", ["/no/such/program"]))
    arguments = ("check", "--image-rules", "--ignore", "user")
    done = bench.cm_exec(*arguments, environment=home)
    assert (done.returncode, rows(done.stdout)["handlers"]) == (3, "broken")
    assert b"functions.lost: command: '/no/such/program' does not exist" in done.stdout
    assert done.stderr.startswith(b"cm-exec: the image breaks 1 of ")
    assert done.stderr.endswith(b": handlers\n")
    ignored = bench.cm_exec(*arguments, "--ignore", "handlers", environment=home)
    assert (ignored.returncode, rows(ignored.stdout)["handlers"]) == (0, "ignored")


def test_a_wrong_cm_toml_is_one_of_the_rules(bench: Bench, home: dict[str, str]) -> None:
    bench.write("[functions.f]\ncomand = 1\n")
    done = bench.cm_exec("check", "--image-rules", environment=home)
    assert (done.returncode, rows(done.stdout)["config"]) == (3, "broken")
    assert b"functions.f.comand: unknown key; did you mean command?" in done.stdout


def test_a_path_without_programs_is_an_image_without_them(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["/bin/cat"]))
    done = bench.cm_exec("check", "--image-rules", environment={**home, "PATH": str(bench.folder)})
    verdicts = rows(done.stdout)
    assert (verdicts["tee"], verdicts["echo"], verdicts["handlers"]) == ("broken", "broken", "ok")
    assert b"Traceback" not in done.stderr


def test_in_a_replica_the_platform_s_files_are_looked_at(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]))
    connection = bench.replica.modern()
    found = bench.cm_exec("check", "--image-rules", environment={**home, **connection})
    assert rows(found.stdout)["files"] == "ok"
    late = bench.cm_exec("check", "--image-rules", environment={**home, **connection, "BUILD2_TOKEN": "/no/such/file"})
    assert rows(late.stdout)["files"] == "warning"


def test_a_variable_of_the_platform_in_the_image_is_told(bench: Bench, home: dict[str, str]) -> None:
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", "--image-rules", environment={**home, "CLIENT_SECRET": "swordfish"})
    assert rows(done.stdout)["variables"] == "warning"
    assert b"CLIENT_SECRET" in done.stdout
    assert b"swordfish" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--image-rules", "--ignore", "hanlders"], b"did you mean handlers?"),
        (["--image-rules", "--ignore", "xyz"], b"the rules are user, platform, "),
        (["--ignore", "shell"], b"--ignore is for --image-rules"),
    ],
)
def test_a_rule_that_does_not_exist_is_wrong_usage(bench: Bench, arguments: list[str], told: bytes) -> None:
    bench.write(function("f", ["cat"]))
    done = bench.cm_exec("check", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
