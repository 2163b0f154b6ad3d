"""The report for people, JUnit XML for CI, and the selection of tests."""

from pathlib import Path

import click
import junitparser
import pytest

from cm_exec.config import Config
from cm_exec.config.load import parse_config
from cm_exec.function_tests import PreparedTest, read_cases, select_tests
from cm_exec.function_tests.outcome import OutcomeProblem
from cm_exec.function_tests.report import FunctionTestReport, junit_xml, rerun_command
from cm_exec.function_tests.runner import STDERR_LIMIT, CapturedStderr, CompletedTest

CONFIG = """
[functions]
double = "jq"
shout = "tr"
silent = "true"
"""
TESTS = """
[[tests]]
function = "double"
query = 21
result = 42
[[tests]]
function = "double"
name = "Negative <numbers>"
query = -1
result = -2
[[tests]]
function = "shout"
name = "it's loud"
query = "it's"
result = "IT'S"
"""


def config(tests: str = TESTS) -> Config:
    return parse_config(f"{CONFIG}{tests}", path=Path("/srv/cm.toml"))


def cases(tests: str = TESTS) -> list[PreparedTest]:
    return read_cases(config(tests).tests, Path("cm.toml"))


def completed(case: PreparedTest, problem: OutcomeProblem | None = None, stderr: bytes = b"") -> CompletedTest:
    return CompletedTest(case=case, seconds=0.25, problem=problem, stderr=stderr)


WRONG = OutcomeProblem(message="the result is not as expected", details=("$: expected 42, found \x1b[0m", "-a", "+b"))
BROKEN = OutcomeProblem(message="the command of 'shout' failed", reason="exit")


def test_junit(tmp_path: Path) -> None:
    """A suite for each function; failures are distinct from errors."""
    first, second, third = cases()
    path = tmp_path / "junit.xml"
    outcome = [completed(first), completed(second, WRONG, b"log \x00\xff\n"), completed(third, BROKEN)]
    path.write_bytes(junit_xml([first, second, third], outcome, started="2026-01-02T03:04:05", seconds=0.5))
    report = junitparser.JUnitXml.fromfile(str(path))
    double, shout = report
    assert (report.tests, report.failures, report.errors, report.skipped, report.time) == (3, 1, 1, 0, 0.5)
    assert (double.name, double.tests, double.failures, double.errors, double.time) == ("double", 2, 1, 0, 0.5)
    good, wrong = double
    assert (good.classname, good.name, good.result, good.time) == ("double", "double 1", [], 0.25)
    assert wrong.name == "Negative <numbers>"
    (failure,) = wrong.result
    assert isinstance(failure, junitparser.Failure)
    assert (failure.type, failure.message) == ("result", "the result is not as expected")
    assert failure.text == "the result is not as expected\n$: expected 42, found \\x1b[0m\n-a\n+b"
    assert wrong.system_err == "log \\x00\\xff\n"
    ((error,),) = (case.result for case in shout)
    assert isinstance(error, junitparser.Error)
    assert (error.type, error.message) == ("exit", "the command of 'shout' failed")


def test_junit_of_unusual_names() -> None:
    """XML does not have all characters that a name may have."""
    tests = '[[tests]]\nfunction = "\\uFFFE"\nname = "a\\uFFFFb\\u0085"\nquery = 1\nresult = 1\n'
    read = parse_config(f"[functions]\n\"\\uFFFE\" = 'cat'\n{tests}", path=Path("/srv/cm.toml"))
    whole = read_cases(read.tests, Path("cm.toml"))
    report = junitparser.JUnitXml.fromstring(junit_xml(whole, [], started="2026-01-02T03:04:05", seconds=0))
    (suite,) = report
    (case,) = suite
    assert (suite.name, case.classname, case.name) == ("\\ufffe", "\\ufffe", "a\\uffffb\\x85")


def test_junit_skipped(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(junit_xml(cases(), [], started="2026-01-02T03:04:05", seconds=0))
    report = junitparser.JUnitXml.fromfile(str(path))
    assert (report.tests, report.skipped) == (3, 3)


def test_failure(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _ = cases()
    report = FunctionTestReport(Path("cm.toml"))
    report.ended(completed(first))
    report.ended(completed(second, WRONG, b"one\r\ntwo\x07\n"))
    report.ended(completed(second, BROKEN))
    report.summary([first, second], [completed(first), completed(second, WRONG)], seconds=1.5, interrupted=False)
    assert capsys.readouterr().out == (
        "ok   double 1 (250 ms)\n"
        "FAIL double: Negative <numbers> (250 ms)\n"
        "    the result is not as expected\n"
        "      $: expected 42, found \\x1b[0m\n"
        "      -a\n"
        "      +b\n"
        "    stderr:\n"
        "      | one\n"
        "      | two\\x07\n"
        "    again: cm-exec invoke -- double -1\n"
        "FAIL double: Negative <numbers> (250 ms)\n"
        "    the command of 'shout' failed (exit)\n"
        "    again: cm-exec invoke -- double -1\n"
        "\n2 tests: 1 failed, 1 passed, in 1.50 s\n"
    )


def test_many_tests(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of many tests ends with a list of those that failed."""
    first, second, third = cases()
    outcome = [completed(third, BROKEN), completed(second, WRONG), *([completed(first)] * 30)]
    FunctionTestReport(Path("cm.toml")).summary([first, second, third], outcome, seconds=1, interrupted=False)
    assert capsys.readouterr().out.startswith("FAIL double: Negative <numbers>\nFAIL shout: it's loud\n\n")


def test_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = cases()
    FunctionTestReport(Path("cm.toml")).summary([first, second, third], [completed(first)], seconds=1, interrupted=True)
    assert capsys.readouterr().out == "\ninterrupted: 3 tests: 1 passed, 2 not run, in 1.00 s\n"


def test_long_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    FunctionTestReport(Path("cm.toml")).ended(
        completed(cases()[0], BROKEN, b"".join(b"line %d\n" % n for n in range(100)))
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "| … 80 lines before" in lines
    assert "| line 80" in lines
    assert "| line 79" not in lines


@pytest.mark.parametrize(
    ("query", "path", "command"),
    [
        ("query = 21", "cm.toml", "cm-exec invoke double 21"),
        ('query = "it\'s"', "my app/cm.toml", "cm-exec invoke --config 'my app/cm.toml' double '\"it'\"'\"'s\"'"),
        ('query_file = "q.json"', "cm.toml", "cm-exec invoke --query-file q.json double"),
        ('query_file = "q.json"', "app/cm.toml", "cm-exec invoke --config app/cm.toml --query-file app/q.json double"),
        ('query_file = "/data/q"', "cm.toml", "cm-exec invoke --query-file /data/q double"),
        (f'query = "{"x" * 3000}"', "cm.toml", "cm-exec test 'double 1'"),
    ],
)
def test_rerun_command(query: str, path: str, command: str) -> None:
    absolute = Path(path).absolute()
    text = f"{CONFIG}[[tests]]\nfunction = 'double'\n{query}\nresult = 1"
    (test,) = parse_config(text, path=absolute).tests
    body = test.query if isinstance(test.query, bytes) else b""
    assert rerun_command(PreparedTest(test=test, query=body, expected=test.expected), Path(path)) == command


@pytest.mark.parametrize(
    ("names", "titles"),
    [
        ([], ["double 1", "double: Negative <numbers>", "shout: it's loud"]),
        (["double"], ["double 1", "double: Negative <numbers>"]),
        (["LOUD"], ["shout: it's loud"]),
        (["negative", "shout"], ["double: Negative <numbers>", "shout: it's loud"]),
        (["double 1"], ["double 1"]),
        (["double:"], ["double: Negative <numbers>"]),
    ],
)
def test_names(names: list[str], titles: list[str]) -> None:
    """A name is that of a function, or a part of a test's title."""
    assert [test.title for test in select_tests(config(), names, Path("cm.toml"))] == titles


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dobule", "no function and no test is called 'dobule'; did you mean 'double'?"),
        ("zzz", "no function and no test is called 'zzz'"),
        ("silent", "the function 'silent' has no test"),
    ],
)
def test_unknown_name(name: str, message: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        select_tests(config(), [name], Path("cm.toml"))
    assert refused.value.message == message


def test_no_tests() -> None:
    with pytest.raises(click.UsageError) as refused:
        select_tests(config(""), [], Path("my/cm.toml"))
    assert refused.value.message.startswith("my/cm.toml has no tests.")
    shown = "\n".join(line.strip() for line in refused.value.message.splitlines()[2:])
    assert config(shown).tests[0].title == "double 1"


def test_stderr_tail() -> None:
    tail = CapturedStderr()
    for number in range(40_000):
        tail.write(b"%09d\n" % number)
    kept = tail.getvalue()
    assert len(kept) == STDERR_LIMIT
    assert kept.endswith(b"000039999\n")
