"""A test with its files read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from cm_exec.config import ConfigError, Problem
from cm_exec.config.function_test import Expectation, FunctionTest, ResultIsBytes, ResultIsJson, Source
from cm_exec.protocol.json_text import json_problem

_QUERY: Final = "query_file"
_RESULT: Final = "result_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`query` is JSON text; `expected` has the text in place of a file."""

    test: FunctionTest
    query: bytes
    expected: Expectation


def read_cases(tests: Iterable[FunctionTest], shown_as: Path) -> list[Case]:
    """Read the files that tests name; `shown_as` is how errors call cm.toml.

    Raises ConfigError with all files that are missing or have no JSON where it belongs.
    """
    reader = _Reader()
    cases = [reader.case(test) for test in tests]
    if reader.problems:
        raise ConfigError(shown_as, reader.problems)
    return cases


def file_problems(tests: Iterable[FunctionTest]) -> list[Problem]:
    """What read_cases would refuse."""
    reader = _Reader()
    for test in tests:
        reader.case(test)
    return reader.problems


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def case(self, test: FunctionTest) -> Case:
        query = self._text(test.query, f"{test.at}.{_QUERY}", is_json=True)
        return Case(test=test, query=query, expected=self._expected(test))

    def _expected(self, test: FunctionTest) -> Expectation:
        key = f"{test.at}.{_RESULT}"
        match test.expected:
            case ResultIsJson(text=text):
                return replace(test.expected, text=self._text(text, key, is_json=True))
            case ResultIsBytes(body=body):
                return replace(test.expected, body=self._text(body, key, is_json=False))
        return test.expected

    def _text(self, source: Source, key: str, *, is_json: bool) -> bytes:
        if isinstance(source, bytes):
            return source
        try:
            text = source.read_bytes()
        except OSError as error:
            self._note(key, f"{str(source)!r} cannot be read: {error.strerror}")
            return b""
        if is_json and (problem := json_problem(text)) is not None:
            self._note(key, f"{str(source)!r} is not JSON: {problem}")
        return text

    def _note(self, key: str, message: str) -> None:
        self.problems.append(Problem(key=key, message=message))
