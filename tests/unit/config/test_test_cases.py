"""`[[tests]]`: what is read, and exactly what is said of mistakes."""

from pathlib import Path

import pytest

from cm_exec.config import FunctionTest, JobFails, ResultIsBytes, ResultIsJson, ResultMatches
from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.protocol.failure import Reason

FUNCTIONS = '[functions]\ndouble = "jq"\nshout = "tr"\n'
QUERIES = "expected query, query_json or query_file, found none of them"
EXPECTATIONS = (
    "expected result, result_json, result_subset, result_text, result_file, result_matches, error or "
    "error_contains, found none of them"
)
REASONS = (
    'expected "exit", "signal", "timeout", "output_limit", "invalid_output", "invalid_query", "not_started", '
    '"out_of_step", "handler" or "http_status"'
)
KEYS = (
    "the keys here are error, error_contains, function, name, query, query_file, query_json, result, result_file, "
    "result_json, result_matches, result_subset, result_text, timeout, tolerance, user_id"
)
ONE_THING = "a test expects one outcome"
NUMBERS = "is for the numbers of result, result_json, result_subset or a result_file *.json"
JSON = "expected a value that JSON has"


def read(tests: str) -> tuple[FunctionTest, ...]:
    return parse_config(f"{FUNCTIONS}{tests}", path=Path("/srv/cm.toml")).tests


def one(options: str) -> FunctionTest:
    """Return the test of `double` with these options."""
    (test,) = read(f'[[tests]]\nfunction = "double"\n{options}')
    return test


def mistakes(tests: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tests)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("query = 21", b"21"),
        ('query = "é\\n"', '"é\\n"'.encode()),
        ("query = { a = [1, 2.50, true], b = {} }", b'{"a":[1,2.5,true],"b":{}}'),
        ("query = 1e400", None),
        ("query = 123456789012345678901234567890", b"123456789012345678901234567890"),
        ("query.a.b = []", b'{"a":{"b":[]}}'),
        ('query_json = \'{"at": null,  "n": 1.10}\'', b'{"at": null,  "n": 1.10}'),
        ('query_file = "query.json"', Path("/srv/query.json")),
        ('query_file = "/data/q"', Path("/data/q")),
    ],
)
def test_a_query_is_json_or_a_file(options: str, query: bytes | Path | None) -> None:
    if query is None:
        assert mistakes(f'[[tests]]\nfunction = "double"\n{options}\nresult = 1') == [
            f"tests[0].query: {JSON}, found inf"
        ]
    else:
        assert one(f"{options}\nresult = 1").query == query


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("result = 42", ResultIsJson(text=b"42")),
        ("result = {}", ResultIsJson(text=b"{}")),
        ("result_json = 'null'", ResultIsJson(text=b"null")),
        ("result_subset = { a = [1] }", ResultIsJson(text=b'{"a":[1]}', subset=True)),
        ("result_subset = 1.5\ntolerance = 0.25", ResultIsJson(text=b"1.5", subset=True, tolerance=0.25)),
        ('result_text = ""', ResultIsBytes(body=b"")),
        ('result_text = "HÉ\\n"', ResultIsBytes(body="HÉ\n".encode())),
        ('result_file = "r.json"', ResultIsJson(text=Path("/srv/r.json"))),
        ('result_file = "r.JSON"\ntolerance = 1', ResultIsJson(text=Path("/srv/r.JSON"), tolerance=1.0)),
        ('result_file = "r.png"', ResultIsBytes(body=Path("/srv/r.png"))),
        ("result_matches = '^\\d+$'", ResultMatches(pattern=r"^\d+$")),
        ('error = "exit"', JobFails(reason=Reason.EXIT, contains=None)),
        ('error_contains = "no such"', JobFails(reason=None, contains="no such")),
        ('error = "timeout"\nerror_contains = "late"', JobFails(reason=Reason.TIMEOUT, contains="late")),
    ],
)
def test_an_expectation_is_one_of_these(options: str, expected: object) -> None:
    assert one(f"query = 1\n{options}").expected == expected


def test_titles() -> None:
    """A test without a name has the name of its function and a number."""
    tests = read(
        "".join(
            f'[[tests]]\nfunction = "{function}"\nquery = 1\nresult = 1\n{name}\n'
            for function, name in [("double", ""), ("shout", ""), ("double", 'name = "zero"'), ("double", "")]
        )
    )
    assert [test.title for test in tests] == ["double 1", "shout 1", "double: zero", "double 3"]
    assert [test.label for test in tests] == ["double 1", "shout 1", "zero", "double 3"]
    assert [test.at for test in tests] == ["tests[0]", "tests[1]", "tests[2]", "tests[3]"]


def test_timeout() -> None:
    """A test may have its own timeout, and zero means no timeout."""
    times = [one(f"query = 1\nresult = 1\n{line}").timeout for line in ("", "timeout = 1.5", "timeout = 0")]
    assert times == [None, 1.5, 0.0]


def test_a_file_without_tests_is_right() -> None:
    assert read("") == ()
    assert parse_config(f"tests = []\n{FUNCTIONS}", path=Path("/srv/cm.toml")).tests == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("result = 1", f": {QUERIES}"),
        ("query = 1", f": {EXPECTATIONS}"),
        ("query = 1\nquery_json = '1'\nresult = 1", ".query_json: cannot be combined with query: a test has one query"),
        ("query = 1\nresult = 1\nresult_text = ''", f".result_text: cannot be combined with result: {ONE_THING}"),
        (
            "query = 1\nresult_matches = ''\nerror = 'exit'",
            f".error: cannot be combined with result_matches: {ONE_THING}",
        ),
        (
            "query = 1\nresult = 1\nerror_contains = 'x'",
            f".error_contains: cannot be combined with result: {ONE_THING}",
        ),
        ("query = 1\nresult_text = 'x'\ntolerance = 1", f".tolerance: {NUMBERS}"),
        ("query = 1\nerror = 'exit'\ntolerance = 1", f".tolerance: {NUMBERS}"),
        ("query = 1\nresult_file = 'r.txt'\ntolerance = 1", f".tolerance: {NUMBERS}"),
        ("query = 1\nresult = 1\ntolerance = -1", ".tolerance: expected a number, 0 or more, found -1"),
        ("query = 1\nresult = 1\ntolerance = nan", ".tolerance: expected a number, 0 or more, found nan"),
        (
            "query = 1979-05-27T07:32:00Z\nresult = 1",
            f'.query: {JSON}, found a date or time; did you mean "1979-05-27T07:32:00+00:00"?',
        ),
        (
            "query = 1\nresult = { at = [1979-05-27] }",
            f'.result.at[0]: {JSON}, found a date or time; did you mean "1979-05-27"?',
        ),
        ("query = 1\nresult_subset.x = nan", f".result_subset.x: {JSON}, found nan"),
        ("query = { a = [1, -inf] }\nresult = 1", f".query.a[1]: {JSON}, found -inf"),
        ("query_json = 'x'\nresult = 1", ".query_json: not JSON: JSON is malformed: invalid character (byte 0)"),
        (
            "query_json = ''\nresult = 1",
            ".query_json: expected a text in quotes: not empty, no NUL, found an empty string",
        ),
        ("query = 1\nresult_json = '{'", ".result_json: not JSON: Input data was truncated"),
        (
            "query = 1\nresult_json = 1",
            '.result_json: expected a text in quotes: not empty, no NUL, found 1; did you mean "1"?',
        ),
        (
            "query = 1\nresult_matches = '('",
            ".result_matches: not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "query_file = ''\nresult = 1",
            ".query_file: expected a file's path: not empty, no NUL, found an empty string",
        ),
        ("query = 1\nerror = 'exi'", f'.error: {REASONS}, found "exi"; did you mean "exit"?'),
        ("query = 1\nerror = 'shutdown'", f'.error: {REASONS}, found "shutdown"'),
        ("query = 1\nerror = true", f".error: {REASONS}, found true"),
        (
            "query = 1\nresult = 1\nname = ''",
            ".name: expected a name: not empty, no control characters, found an empty string",
        ),
        (
            "query = 1\nresult = 1\ntimeout = -1",
            ".timeout: expected a number of seconds from 0 to 604800 (0 is no limit), found -1",
        ),
        (
            "query = 1\nresult = 1\nmode = 'spawn'",
            ".mode: not known here, it belongs in [defaults] or [functions.NAME]",
        ),
        ("query = 1\nresult = 1\nxyz = 1", f".xyz: unknown key; {KEYS}"),
        ("qury = 1\nresult = 1", ".qury: unknown key; did you mean query?"),
        ("query-file = 'q'\nresult = 1", ".query-file: unknown key; did you mean query_file?"),
        ("query = 1\nresults = 1", ".results: unknown key; did you mean result?"),
        ("query = 1\nresult_sub = 1", ".result_sub: unknown key; did you mean result_subset?"),
        ("query = 1\nerror_contain = 'x'", ".error_contain: unknown key; did you mean error_contains?"),
        ("query = 1\nresult = 1\ntolerence = 1", ".tolerence: unknown key; did you mean tolerance?"),
        ("query = 1\nrslt = 1\ntolerance = 1", ".rslt: unknown key; did you mean result?"),
    ],
)
def test_a_wrong_test_is_one_mistake_with_its_key(options: str, message: str) -> None:
    assert mistakes(f'[[tests]]\nfunction = "double"\n{options}') == [f"tests[0]{message}"]


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("[[tests]]\nquery = 1\nresult = 1", "tests[0].function: expected the name of a function, found nothing"),
        (
            "[[tests]]\nfunction = 'duble'\nquery = 1\nresult = 1",
            'tests[0].function: expected the name of a function, found "duble"; did you mean "double"?',
        ),
        (
            "[[tests]]\nfunction = 'x'\nquery = 1\nresult = 1",
            'tests[0].function: expected the name of a function, found "x"; there are "double", "shout"',
        ),
        (
            "[[tests]]\nfunction = 1\nquery = 1\nresult = 1",
            'tests[0].function: expected the name of a function, found 1; did you mean "1"?',
        ),
        (
            "[tests]\nfunction = 'double'\nquery = 1\nresult = 1",
            "tests: expected an array of tables, each under [[tests]], found a table; did you mean [[tests]]?",
        ),
        ("[[test]]\nfunction = 'double'\nquery = 1\nresult = 1", "test: unknown key; did you mean tests?"),
        (
            '[[tests]]\nfunction = "double"\nname = "a"\nquery = 1\nresult = 1\n' * 2,
            'tests[1].name: "a" is already the name of tests[0]',
        ),
    ],
)
def test_invalid_test(tests: str, message: str) -> None:
    """A test with wrong, missing or contradictory keys is rejected."""
    assert mistakes(tests) == [message]


def test_tests_of_another_type() -> None:
    """A value of "tests" that is not an array of tables is rejected."""
    what = "expected an array of tables, each under [[tests]]"
    for value, found in [("5", "5"), ('"x"', '"x"')]:
        with pytest.raises(ConfigError) as caught:
            parse_config(f"tests = {value}\n{FUNCTIONS}", path=Path("/srv/cm.toml"))
        assert [str(problem) for problem in caught.value.problems] == [f"tests: {what}, found {found}"]
    with pytest.raises(ConfigError) as caught:
        parse_config(f"tests = [5]\n{FUNCTIONS}", path=Path("/srv/cm.toml"))
    assert [str(problem) for problem in caught.value.problems] == ["tests[0]: expected a table, found 5"]


def test_same_name_for_two_functions() -> None:
    """Tests of different functions may have the same name."""
    texts = (
        f'[[tests]]\nfunction = "{function}"\nname = "a"\nquery = 1\nresult = 1\n' for function in ("double", "shout")
    )
    assert len(read("".join(texts))) == 2


def test_test_of_a_wrong_function() -> None:
    """A wrong function is not reported again for its test."""
    with pytest.raises(ConfigError) as caught:
        parse_config('[functions]\nf = 5\n[[tests]]\nfunction = "f"\nquery = 1\nresult = 1', path=Path("/srv/cm.toml"))
    assert [problem.key for problem in caught.value.problems] == ["functions.f"]


def test_what_is_nested_beyond_reason_is_refused() -> None:
    deep = ".".join("a" * 200)
    assert mistakes(f'[[tests]]\nfunction = "double"\nquery.{deep} = 1\nresult = 1') == [
        "tests[0].query.a: nested more than 100 deep"
    ]


def test_huge_integer() -> None:
    """An integer that Python does not convert to decimal is rejected."""
    assert mistakes(f'[[tests]]\nfunction = "double"\nquery = 0x{"f" * 5000}\nresult = 1') == [
        f"tests[0].query: {JSON}, found a huge integer"
    ]


def test_reasons_that_need_a_runtime() -> None:
    """A test cannot expect a reason that only a runtime causes."""
    expectable = {reason.value for reason in Reason if f'"{reason.value}"' in REASONS}
    assert set(Reason) - expectable == {
        Reason.UNKNOWN_FUNCTION,
        Reason.MALFORMED_JOB,
        Reason.SHUTDOWN,
        Reason.RESULT_REJECTED,
    }
