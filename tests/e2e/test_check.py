import re

import pytest

from tests.support.bench import Bench
from tests.support.toml import function, table

MISTAKES = """
[functions.thumbnail]
comand = ["cat"]
timeout = "soon"

[functions.other]
command = ["cat"]
max_output = "64 bananas"
output = "jsn"

[launcher]
concurency = 4
log_format = "xml"
"""


def test_a_good_cm_toml_is_shown_as_a_table(bench: Bench) -> None:
    bench.write(function("thumbnail", ["cat"], timeout=30) + function("double", "jq '. * 2'"))
    done = bench.cm_exec("check")
    assert done.returncode == 0
    table_text = done.stdout.decode()
    for text in ("thumbnail", "double", "30"):
        assert text in table_text
    assert re.search(r"/\S*/cat\b", table_text), "the executable is resolved"


def test_all_mistakes_are_listed_with_the_nearest_right_names(bench: Bench) -> None:
    bench.write(MISTAKES)
    done = bench.cm_exec("check")
    assert done.returncode == 3
    text = (done.stdout + done.stderr).decode()
    for expected in (
        "cm.toml",
        "functions.thumbnail.comand",
        "command",
        "functions.thumbnail.timeout",
        "functions.other.max_output",
        "functions.other.output",
        "launcher.concurency",
        "concurrency",
        "launcher.log_format",
    ):
        assert expected in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", [["no-such-program"], ["./plain"], ["/no/such/program"]])
def test_a_command_that_cannot_be_run_is_wrong(bench: Bench, command: list[str]) -> None:
    bench.folder.joinpath("plain").write_text("")
    bench.write(function("good", ["cat"]) + function("bad", command))
    done = bench.cm_exec("check")
    assert done.returncode != 0
    text = (done.stdout + done.stderr).decode()
    assert command[0].removeprefix("./") in text
    assert "good" in text
    assert "Traceback" not in text


def test_a_missing_folder_is_wrong(bench: Bench) -> None:
    bench.write(function("bad", ["cat"], cwd="missing"))
    done = bench.cm_exec("check")
    assert done.returncode != 0
    assert b"missing" in done.stdout + done.stderr


def test_check_needs_no_runtime_and_runs_nothing(bench: Bench) -> None:
    bench.write(function("f", "touch was-run"))
    assert bench.cm_exec("check").returncode == 0
    assert not bench.folder.joinpath("was-run").exists()


def test_config_names_another_file(bench: Bench) -> None:
    bench.folder.joinpath("my.toml").write_text(function("elsewhere", ["cat"]))
    done = bench.cm_exec("check", "--config", "my.toml")
    assert done.returncode == 0
    assert b"elsewhere" in done.stdout


BAD = [
    "",
    "functions = 3",
    "[functions]\n",
    "[functions]\nf = 3\n",
    "[functions]\nf = ''\n",
    "[functions.f]\ncommand = []\n",
    "[functions.f]\n",
    "[functions]\nf = 'cat'\nf = 'dog'\n",
    "[functions]\nf = 'unclosed\n",
    function("f", "cat", timeout=-1),
    function("f", "cat", timeout=True),
    function("f", "cat", max_concurrency=0),
    function("f", "cat", env={"A": 1}),
    function("f", "cat", env={"A=B": "1"}),
    function("f", "cat", env={"A": "x\0y"}),
    function("f", ["cat", "x\0y"]),
    function("f", "cat", max_output="-1"),
    function("f", "cat", credentials="yes"),
    function("f", "cat") + table("launcher", concurrency=0),
    function("f", "cat") + table("launcher", concurrency="4"),
    function("f", "cat") + table("launcher", drain_timeout=-1),
    function("f", "cat") + table("surprise", x=1),
    table("defaults", command="cat") + function("f", "cat"),
]


@pytest.mark.parametrize("config", BAD)
def test_a_bad_cm_toml_is_exit_3_without_a_traceback(bench: Bench, config: str) -> None:
    bench.write(config)
    done = bench.cm_exec("check")
    assert done.returncode == 3
    assert b"cm.toml" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("config", [BAD[0], BAD[8], BAD[9]])
def test_a_worker_with_a_bad_cm_toml_ends_before_it_connects(bench: Bench, config: str) -> None:
    bench.write(config)
    done = bench.cm_exec("run", environment=bench.replica.modern())
    assert done.returncode == 3
    assert b"cm.toml" in done.stderr
    assert b"Traceback" not in done.stderr
    assert bench.runtime.ledger.connections == 0
