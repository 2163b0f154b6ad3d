"""Checks of a job's outcome."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cm_exec.config import ExpectedOutcome, JobFails, ResultIsBytes, ResultIsJson, ResultMatches
from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.function_tests import PreparedTest, file_problems, read_cases
from cm_exec.function_tests.outcome import OutcomeProblem, check_outcome
from cm_exec.protocol.failure import Failure, Reason

TYPED = '[functions.f]\ncommand = "cat"\ninputs = { n = "integer" }\nreturns = "integer"\n'
PLAIN = '[functions.f]\ncommand = "cat"\n'
EXIT = Failure(reason=Reason.EXIT, message="the command of 'f' failed with exit status 3", exit_code=3)

REPORTED = Failure(reason=Reason.HANDLER, message="it reports an error", error=msgspec.Raw(rb'{"why":"n\u00e9"}'))
REPORTED_TEXT = Failure(reason=Reason.HANDLER, message="it reports an error", error=msgspec.Raw(rb'"he said \"no\""'))


def check(
    expected: ExpectedOutcome, ended: bytes | Failure, *, query: bytes = b"1", stderr: bytes = b"", config: str = PLAIN
) -> OutcomeProblem | None:
    text = f"{config}[[tests]]\nfunction = 'f'\nquery = 1\nresult = 1"
    read = parse_config(text, path=Path("/srv/cm.toml"))
    return check_outcome(
        PreparedTest(test=read.tests[0], query=query, expected=expected), read.functions["f"], ended, stderr
    )


def json_is(text: bytes, **options: Any) -> ResultIsJson:
    return ResultIsJson(text=text, **options)


@pytest.mark.parametrize(
    ("expected", "ended"),
    [
        (json_is(b'{"a": 1}'), b'{ "a": 1.0 }\n'),
        (json_is(b'{"a": 1}', subset=True), b'{"a": 1, "b": 2}'),
        (json_is(b"0.5", tolerance=0.1), b"0.6"),
        (ResultIsBytes(body=b"\0\xff"), b"\0\xff"),
        (ResultMatches(pattern="^[0-9]+$"), b"42\n"),
        (ResultMatches(pattern="é"), "né".encode()),
        (ResultMatches(pattern=r"^\x89PNG"), b"\x89PNG\r\n\xff"),
        (ResultMatches(pattern=""), b""),
        (JobFails(reason=Reason.EXIT, contains=None), EXIT),
        (JobFails(reason=None, contains="exit status 3"), EXIT),
        (JobFails(reason=Reason.EXIT, contains="no such"), EXIT),
        (JobFails(reason=None, contains='"né"'), REPORTED),
        (JobFails(reason=None, contains=r'"n\u00e9"'), REPORTED),
        (JobFails(reason=None, contains='said "no"'), REPORTED_TEXT),
    ],
)
def test_passes(expected: ExpectedOutcome, ended: bytes | Failure) -> None:
    assert check(expected, ended, stderr=b"no such customer\n") is None


@pytest.mark.parametrize("result", [b"\x89PNG\r\n\xff", b'"iVBORw0K"', b""])
def test_binary_result(result: bytes) -> None:
    """A result of the type binary is any bytes."""
    config = '[functions.f]\ncommand = "cat"\nreturns = "binary"\n'
    assert check(ResultIsBytes(body=result), result, config=config) is None


@pytest.mark.parametrize(
    ("expected", "ended", "message"),
    [
        (json_is(b"1"), b"2", "the result is not as expected"),
        (json_is(b"1"), b"NaN", "the result is not valid JSON: JSON is malformed: invalid character (byte 0)"),
        (json_is(b"1"), b"", "the result is not valid JSON: it is empty"),
        (
            json_is(b"[" * 900 + b"]" * 900),
            b"[" * 900 + b"1" + b"]" * 900,
            "the result is nested too deeply to be compared",
        ),
        (ResultIsBytes(body=b"a"), b"a\n", "the result is not as expected"),
        (ResultMatches(pattern="^x"), b"ax", "the result has no match for '^x'"),
        (ResultMatches(pattern="(?u)x"), b"\xffx", "the result has no match for '(?u)x'"),
        (JobFails(reason=Reason.EXIT, contains=None), b"1", "expected the error 'exit', found a result"),
        (JobFails(reason=None, contains="x"), b"1", "expected an error, found a result"),
        (
            JobFails(reason=Reason.TIMEOUT, contains=None),
            EXIT,
            "expected the error 'timeout', found 'exit': the command of 'f' failed with exit status 3",
        ),
        (
            JobFails(reason=Reason.EXIT, contains="zzz"),
            EXIT,
            "expected 'zzz' in the error or in stderr, found: the command of 'f' failed with exit status 3 (exit)",
        ),
    ],
)
def test_fails(expected: ExpectedOutcome, ended: bytes | Failure, message: str) -> None:
    problem = check(expected, ended)
    assert problem is not None
    assert problem.message == message
    assert problem.reason is None


@pytest.mark.parametrize(
    ("type_", "expected", "found", "options"),
    [
        ("set<string>", '["a", "b", "b", "c"]', '["b", "c", "a", "b"]', {}),
        ("optional<set<double>>", "[1, 2.5]", "[2.5, 1.0]", {}),
        ("set<double>", "[0.1, 0.2]", "[0.201, 0.1]", {"tolerance": 0.01}),
        ("set<struct<a: set<integer>, b?: integer>>", '[{"a": [1, 2]}, {"a": []}]', '[{"a": []}, {"a": [2, 1]}]', {}),
        (
            "set<struct<a: integer, b: integer>>",
            '[{"a": 1}, {"a": 2}]',
            '[{"a": 2, "b": 0}, {"a": 1, "b": 0}]',
            {"subset": True},
        ),
        ("map<string, list<set<string>>>", '{"x": [["a", "b"], []]}', '{"x": [["b", "a"], []]}', {}),
    ],
)
def test_sets(type_: str, expected: str, found: str, options: dict[str, Any]) -> None:
    """The items of a set have no order, wherever it is in the result."""
    config = f'[functions.f]\ncommand = "cat"\nreturns = "{type_}"\n'
    assert check(json_is(expected.encode(), **options), found.encode(), config=config) is None
    as_lists = config.replace("set<", "list<")
    assert check(json_is(expected.encode(), **options), found.encode(), config=as_lists) is not None


@pytest.mark.parametrize(
    ("expected", "found", "details"),
    [
        ('["a", "b"]', '["c", "a"]', ('$[1]: expected "b", found "c"',)),
        ('["a", "b"]', '["b"]', ("$: expected 2 items, found 1 item", '$[0]: expected "a", found nothing')),
        ('["a"]', '["b", "a"]', ("$: expected 1 item, found 2 items", '$[1]: expected nothing, found "b"')),
        ('["a", "a"]', '["a", "b"]', ('$[1]: expected "a", found "b"',)),
    ],
)
def test_wrong_sets(expected: str, found: str, details: tuple[str, ...]) -> None:
    """Only the items that are not in both are differences."""
    config = '[functions.f]\ncommand = "cat"\nreturns = "set<string>"\n'
    problem = check(json_is(expected.encode()), found.encode(), config=config)
    assert problem is not None
    assert problem.details == details


def test_a_large_set() -> None:
    """It is compared in a time that its size bounds, not its square."""
    config = '[functions.f]\ncommand = "cat"\nreturns = "set<integer>"\n'
    numbers = [str(number) for number in range(50_000)]
    expected, found = ",".join(numbers), ",".join(reversed(numbers))
    assert check(json_is(f"[{expected}]".encode()), f"[{found}]".encode(), config=config) is None
    shifted = ",".join(f"{number}00000" for number in numbers)
    assert check(json_is(f"[{expected}]".encode()), f"[{shifted}]".encode(), config=config) is not None


def test_failed_job() -> None:
    """A job that failed has its reason."""
    problem = check(json_is(b"1"), EXIT)
    assert problem == OutcomeProblem(message=EXIT.message, reason="exit")


def test_many_differences() -> None:
    """The first differences are shown and the others counted."""
    problem = check(json_is(b"[" + b"1," * 99 + b"1]"), b"[" + b"2," * 99 + b"2]")
    assert problem is not None
    assert problem.details[0] == "$[0]: expected 1, found 2"
    assert problem.details[-1] == "and 88 more"
    assert len(problem.details) == 13


def test_invalid_json() -> None:
    """The result is shown, and the keys that can expect it."""
    problem = check(json_is(b'"HI"'), b"HI\nYOU\n")
    assert problem is not None
    assert problem.details == (
        "the result, 7 bytes:",
        "| HI",
        "| YOU",
        "for results that are not JSON use result_text, result_file or result_matches",
    )


def test_wrong_returns() -> None:
    problem = check(ResultMatches(pattern=""), b'"x"', query=b'{"n": 1}', config=TYPED)
    assert problem is not None
    assert problem.message.startswith("the result does not match what 'f' returns: $: expected an integer")


def test_wrong_inputs() -> None:
    """A query must match inputs, unless an error is expected."""
    problem = check(json_is(b"1"), b"1", query=b'{"n": "x"}', config=TYPED)
    assert problem is not None
    assert problem.message.startswith("the query does not match the inputs of 'f': $.n: expected an integer")
    assert check(JobFails(reason=Reason.EXIT, contains=None), EXIT, query=b"{}", config=TYPED) is None


def test_failed_job_wrong_inputs() -> None:
    problem = check(json_is(b"1"), EXIT, query=b"{}", config=TYPED)
    assert problem is not None
    assert problem.details[0].startswith("the query does not match inputs: $.n: expected an integer")


FILES = """
[functions]
f = "cat"
[[tests]]
function = "f"
query_file = "q.json"
result_file = "r.json"
[[tests]]
function = "f"
query_file = "sub/q.json"
result_file = "r.bin"
"""


def test_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, body in [("q.json", b" 1 \n"), ("sub/q.json", b"2"), ("r.json", b"[ ]"), ("r.bin", b"\xff\r\n")]:
        (tmp_path / name).write_bytes(body)
    tests = parse_config(FILES, path=tmp_path / "cm.toml").tests
    first, second = read_cases(tests, Path("cm.toml"))
    assert (first.query, first.expected) == (b" 1 \n", ResultIsJson(text=b"[ ]"))
    assert (second.query, second.expected) == (b"2", ResultIsBytes(body=b"\xff\r\n"))
    assert file_problems(tests) == []


def test_wrong_files(tmp_path: Path) -> None:
    """All files that are missing or invalid are reported at once."""
    (tmp_path / "q.json").write_bytes(b"hello")
    (tmp_path / "sub").write_bytes(b"")
    (tmp_path / "r.bin").mkdir()
    tests = parse_config(FILES, path=tmp_path / "cm.toml").tests
    with pytest.raises(ConfigError) as refused:
        read_cases(tests, Path("x/cm.toml"))
    lines = str(refused.value).replace(str(tmp_path), "").splitlines()
    assert lines == [
        "x/cm.toml: tests[0].query_file: '/q.json' is not valid JSON: JSON is malformed: invalid character (byte 0)",
        "x/cm.toml: tests[0].result_file: cannot read '/r.json': No such file or directory",
        "x/cm.toml: tests[1].query_file: cannot read '/sub/q.json': Not a directory",
        "x/cm.toml: tests[1].result_file: cannot read '/r.bin': Is a directory",
    ]
    assert [str(problem) for problem in file_problems(tests)] == [
        str(line) for line in map(str, refused.value.problems)
    ]
