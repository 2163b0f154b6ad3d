"""`cm-exec test` runs the tests of cm.toml."""

import os
import pty
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cm_exec.text import toml_value
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"])
COUNTER = """
import sys
for number, line in enumerate(sys.stdin, 1):
    print(number, flush=True)
"""
TALKER = "import sys\nfor line in sys.stdin: print(line + '2', flush=True)"


def case(of: str, **keys: object) -> str:
    """Return a `[[tests]]` table; the default query is null."""
    if not any(key.startswith("query") for key in keys):
        keys["query_json"] = "null"
    lines = [f"{key} = {toml_value(member)}" for key, member in {"function": of, **keys}.items()]
    return "\n".join(["[[tests]]", *lines, "", ""])


def output(harness: WorkerHarness, *arguments: str, status: int, environment: dict[str, str] | None = None) -> str:
    """Return the output of a run, which must end with this status and without a traceback."""
    done = harness.cm_exec("test", *arguments, environment=environment)
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == status, text
    assert "Traceback" not in text
    return text


def test_pass(harness: WorkerHarness) -> None:
    harness.folder.joinpath("q.json").write_bytes(b' {"n": 1.10}\n')
    harness.write(
        ECHO
        + function("fail", "echo no such customer >&2; exit 3")
        + function("hang", "sleep 300")
        + function("text", "printf 'a\\r\\nb\\n'", output="text")
        + function("streamed", "printf str; printf eam", stream=True)
        + function("ahead", ["cat"], mode="prespawn")
        + case("echo", query={"a": [1, "é"]}, result={"a": [1.0, "é"]})
        + case("echo", query_file="q.json", result_file="q.json")
        + case("echo", query_file="q.json", result_text=' {"n": 1.10}\n')
        + case("echo", query=5, result_matches="^5$")
        + case("fail", error="exit", error_contains="no such customer")
        + case("hang", error="timeout", timeout=0.5)
        + case("text", result="a\r\nb")
        + case("streamed", result_text="stream")
        + case("ahead", query=1, result=1)
    )
    text = output(harness, status=0)
    assert "9 tests: 9 passed" in text
    assert text.count("ok  ") == 9


def test_fail(harness: WorkerHarness) -> None:
    """The difference and stderr are shown; the exit status is 1."""
    harness.write(
        function("f", "echo thinking >&2; cat")
        + function("broken", "echo why >&2; exit 3")
        + case("f", name="good", query=1, result=1)
        + case("f", name="wrong", query_json='{"items":[{"price":4}]}', result_json='{"items":[{"price":3}]}')
        + case("broken", result=1)
    )
    text = output(harness, status=1)
    assert "ok   f: good" in text
    assert "FAIL f: wrong" in text
    assert "$.items[0].price: expected 3, found 4" in text
    assert "| thinking" in text
    assert 'again: cm-exec invoke f \'{"items":[{"price":4}]}\'' in text
    assert "the command of 'broken' failed with exit status 3 (exit)" in text
    assert "3 tests: 2 failed, 1 passed" in text


def test_types(harness: WorkerHarness) -> None:
    """Declared types are checked, whether or not the worker checks them."""
    harness.write(
        function("f", ["cat"], inputs={"n": "integer"}, returns="struct<n: string>")
        + case("f", query={"n": 1}, result={"n": 1})
    )
    assert "the result does not match what 'f' returns: $.n: expected a string" in output(harness, status=1)


def test_persistent(harness: WorkerHarness) -> None:
    """The tests of a persistent function share a process."""
    harness.write(
        function("count", ["python3", "-c", COUNTER], mode="persistent")
        + "".join(case("count", result=number) for number in (1, 2, 3))
    )
    assert "3 passed" in output(harness, "--jobs", "1", status=0)


def test_out_of_step(harness: WorkerHarness) -> None:
    harness.write(
        function("talk", ["python3", "-c", TALKER], mode="persistent") + case("talk", query=1, error="out_of_step")
    )
    output(harness, status=0)


def test_concurrent(harness: WorkerHarness) -> None:
    waits = "touch $0; until [ -e $1 ]; do sleep 0.01; done"
    harness.write(
        function("a", ["sh", "-c", waits, "a", "b"])
        + function("b", ["sh", "-c", waits, "b", "a"])
        + case("a", result_text="", timeout=60)
        + case("b", result_text="", timeout=60)
    )
    output(harness, "--jobs", "2", status=0)


def test_max_concurrency(harness: WorkerHarness) -> None:
    harness.write(
        function("alone", "mkdir taken && sleep 0.05 && rmdir taken", max_concurrency=1)
        + case("alone", result_text="") * 4
    )
    assert "4 passed" in output(harness, "--jobs", "4", status=0)


def test_names(harness: WorkerHarness) -> None:
    harness.write(
        ECHO
        + function("other", ["cat"])
        + case("echo", name="Small", query=1, result=1)
        + case("echo", name="large", query=2, result=2)
        + case("other", query=3, result=3)
    )
    assert "1 test: 1 passed" in output(harness, "small", status=0)
    assert "2 tests: 2 passed" in output(harness, "other", "LARGE", status=0)
    assert "did you mean 'echo'?" in output(harness, "ecko", status=2)


def test_no_tests(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    text = output(harness, status=2)
    assert "[[tests]]" in text
    assert 'function = "echo"' in text


def test_missing_file(harness: WorkerHarness) -> None:
    """`check` and `test` report a test's missing file; the worker starts without it."""
    harness.write(ECHO + case("echo", query_file="lost.json", result_file="gone.bin"))
    for command in ("check", "test"):
        done = harness.cm_exec(command)
        assert done.returncode == 3
        assert b"cm.toml: tests[0].query_file: " in done.stderr
        assert b"cm.toml: tests[0].result_file: " in done.stderr
        assert b"Traceback" not in done.stderr
    assert harness.cm_exec("run").returncode == 4, "it looks for a runtime: its cm.toml is right"


def test_same_message(harness: WorkerHarness) -> None:
    """`check`, `run` and `test` report an invalid test in the same words."""
    harness.write(ECHO + case("echo", query=1, reslt=1))
    told = [harness.cm_exec(command) for command in ("check", "run", "test")]
    assert {done.returncode for done in told} == {3}
    words = b"cm-exec: cm.toml: tests[0].reslt: unknown key; did you mean result? (line 7)\n"
    assert {done.stderr for done in told} == {words}


def test_fail_fast(harness: WorkerHarness) -> None:
    harness.write(
        function("f", "cat; echo x >>runs")
        + case("f", query=1, result=1)
        + case("f", query=1, result=2)
        + case("f", query=1, result=1)
    )
    assert "1 failed, 1 passed, 1 not run" in output(harness, "--fail-fast", "--jobs", "1", status=1)
    assert harness.folder.joinpath("runs").read_text() == "x\n" * 2


def test_junit(harness: WorkerHarness) -> None:
    harness.write(
        function("f", "printf '\\033[31mred\\0' >&2; cat")
        + case("f", query=1, result=1)
        + case("f", query=1, result=2, name="wrong")
    )
    output(harness, "--junit", "out.xml", status=1)
    root = ET.fromstring(harness.folder.joinpath("out.xml").read_bytes())  # noqa: S314 - our own
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "2", "1", "0")
    assert [element.text for element in root.iter("system-err")] == ["\\x1b[31mred\\x00"] * 2


def test_junit_not_writable(harness: WorkerHarness) -> None:
    """It is reported before anything runs."""
    harness.write(function("f", "touch was-run") + case("f", result_text=""))
    assert "lost/out.xml" in output(harness, "--junit", "lost/out.xml", status=2)
    assert not harness.folder.joinpath("was-run").exists()


@pytest.mark.parametrize("mode", ["spawn", "persistent"])
def test_interrupted(harness: WorkerHarness, mode: str) -> None:
    harness.write(
        function("f", "touch started; exec sleep 300", mode=mode)
        + ECHO
        + case("echo", query=1, result=1)
        + case("f", result_text="")
        + case("f", result_text="")
    )
    done = harness.interrupt("test", "--jobs", "1", "--junit", "out.xml")
    assert done.returncode == 130
    assert b"interrupted: 3 tests: 1 passed, 2 not run" in done.stdout
    assert b'skipped="2"' in harness.folder.joinpath("out.xml").read_bytes()


def test_missing_program(harness: WorkerHarness) -> None:
    harness.write(
        function("lost", ["no-such-program"])
        + function("gone", ["no-such-program"], mode="persistent")
        + case("lost", result=1)
        + case("gone", error="not_started")
    )
    text = output(harness, status=1)
    assert "no-such-program" in text
    assert "1 failed, 1 passed" in text


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour(harness: WorkerHarness, no_color: str, *, coloured: bool) -> None:
    harness.write(ECHO + case("echo", query=1, result=1))
    done = on_a_terminal(harness.folder, {**harness.environment({}), "NO_COLOR": no_color, "LANG": "C.UTF-8"})
    assert ("\x1b[" in done) is coloured
    assert "✓" in done
    assert "\x1b[" not in output(harness, status=0)


def on_a_terminal(folder: Path, environment: dict[str, str]) -> str:
    """Return the output of a run whose stdout is a terminal."""
    ours, its = pty.openpty()
    try:
        done = subprocess.run([CM_EXEC, "test"], cwd=folder, env=environment, stdout=its, timeout=60, check=False)
        assert done.returncode == 0
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(its)


def test_ascii(harness: WorkerHarness) -> None:
    harness.write(ECHO + case("echo", name="größer", query="é", result="è"))
    text = output(harness, status=1, environment={"PYTHONIOENCODING": "ascii"})
    assert "FAIL echo: gr\\xf6\\xdfer" in text
    assert 'expected "\\xe8", found "\\xe9"' in text


def test_user_id(harness: WorkerHarness) -> None:
    """A test can have a caller, and the command that repeats it has the same one."""
    harness.write(
        function("who", 'printf \'"%s"\' "$CM_USER_ID"')
        + case("who", query=1, user_id="alice", result="alice")
        + case("who", query=2, user_id="bob", result="alice")
    )
    done = harness.cm_exec("test")
    assert done.returncode == 1
    assert b"2 tests: 1 failed, 1 passed" in done.stdout
    assert b"cm-exec invoke --user-id bob who 2\n" in done.stdout
