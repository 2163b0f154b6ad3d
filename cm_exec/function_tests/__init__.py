"""The tests of cm.toml: selected by name, with the files that they name read."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from cm_exec.config import Config, ExpectedOutcome, FunctionTest, ResultIsBytes, ResultIsJson, Source
from cm_exec.config.load import read_file
from cm_exec.errors import ConfigError, Problem
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import did_you_mean

_QUERY_KEY: Final = "query_file"
_RESULT_KEY: Final = "result_file"

_NO_TESTS: Final = """{path} has no tests. Add one, such as

  [[tests]]
  function = {function}
  query = {{ x = 1 }}    # or query_json = '...', or query_file = "query.json"
  result = {{ x = 2 }}   # or result_file = "result.json", or error = "exit", ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTest:
    """A test whose files are read: `query` is JSON text, and `expected` has the content instead of a path."""

    test: FunctionTest
    query: bytes
    expected: ExpectedOutcome


def select_tests(config: Config, names: Sequence[str], shown_as: Path) -> list[FunctionTest]:
    """Return the tests that the names mean, in the order of the file; without names all.

    A name is that of a function, or else a part of a test's title, in any case of letters. `shown_as` is the path of
    cm.toml as the user wrote it. Raises click.UsageError if there is no test.
    """
    if not config.tests:
        function = json.dumps(next(iter(config.functions)), ensure_ascii=False)
        raise click.UsageError(_NO_TESTS.format(path=shown_as, function=function))
    selected = {test.at for name in names for test in _named(config, name)}
    return [test for test in config.tests if not names or test.at in selected]


def _named(config: Config, name: str) -> list[FunctionTest]:
    of_function = [test for test in config.tests if test.function == name]
    if of_function or name in config.functions:
        found = of_function
        problem = f"the function {name!r} has no test"
    else:
        found = [test for test in config.tests if name.lower() in test.title.lower()]
        hint = did_you_mean(name, [*config.functions, *(test.title for test in config.tests)], quote=repr)
        problem = f"no function and no test is called {name!r}" + (f"; {hint}" if hint else "")
    if not found:
        raise click.BadParameter(problem, param_hint="NAME")
    return found


def read_cases(tests: Iterable[FunctionTest], shown_as: Path) -> list[PreparedTest]:
    """Read the files that tests name.

    Raises ConfigError with all files that are missing or are not JSON where they must be; `shown_as` is the path of
    cm.toml in its text.
    """
    problems: list[Problem] = []
    cases = [_prepare(test, problems) for test in tests]
    if problems:
        raise ConfigError(shown_as, problems)
    return cases


def file_problems(tests: Iterable[FunctionTest]) -> list[Problem]:
    """Return the problems for which read_cases would raise ConfigError."""
    problems: list[Problem] = []
    for test in tests:
        _prepare(test, problems)
    return problems


def _prepare(test: FunctionTest, problems: list[Problem]) -> PreparedTest:
    def content(source: Source, name: str, *, is_json: bool) -> bytes:
        if isinstance(source, bytes):
            return source
        key = f"{test.at}.{name}"
        try:
            text = read_file(source)
        except OSError as error:
            problems.append(Problem(key=key, message=f"cannot read {str(source)!r}: {error.strerror}"))
            return b""
        if is_json and (problem := json_problem(text)) is not None:
            problems.append(Problem(key=key, message=f"{str(source)!r} is not valid JSON: {problem}"))
        return text

    query, expected = content(test.query, _QUERY_KEY, is_json=True), test.expected
    match expected:
        case ResultIsJson(text=text):
            expected = replace(expected, text=content(text, _RESULT_KEY, is_json=True))
        case ResultIsBytes(body=body):
            expected = replace(expected, body=content(body, _RESULT_KEY, is_json=False))
    return PreparedTest(test=test, query=query, expected=expected)
