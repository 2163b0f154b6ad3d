"""The `[[tests]]` of a cm.toml."""

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cm_exec.config.checks import unclear
from cm_exec.config.diagnostics import Findings, KeyPath, dotted, found
from cm_exec.config.json_value import read_json
from cm_exec.config.model import (
    Expectation,
    FunctionTest,
    JobFails,
    ResultIsBytes,
    ResultIsJson,
    ResultMatches,
    Source,
)
from cm_exec.config.schema import FunctionTestTable
from cm_exec.config.validate import read_table
from cm_exec.protocol.failure import Reason
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import did_you_mean, quoted

QUERIES: Final = ("query", "query_json", "query_file")
"""A test has one of these."""

RESULTS: Final = ("result", "result_json", "result_subset", "result_text", "result_file", "result_matches")
ERRORS: Final = ("error", "error_contains")
"""A test has one of the results, or one or both of the errors."""

_WITH_NUMBERS: Final = ("result", "result_json", "result_subset", "result_file")


def read_tests(entries: object, functions: Collection[str], folder: Path, findings: Findings) -> list[FunctionTest]:
    """The tests that are right; `functions` has all names of functions, `folder` is that of cm.toml."""
    if not isinstance(entries, list):
        meant = "; did you mean [[tests]]?" if isinstance(entries, dict) else ""
        findings.add(("tests",), f"expected an array of tables, each under [[tests]], found {found(entries)}{meant}")
        return []
    reader = _TestReader(functions, folder, findings)
    return [test for index, entry in enumerate(entries) if (test := reader.read(index, entry)) is not None]


class _TestReader:
    """Reads one test after another, and knows those before."""

    def __init__(self, functions: Collection[str], folder: Path, findings: Findings) -> None:
        self._functions = functions
        self._folder = folder
        self._findings = findings
        self._numbers: Counter[str] = Counter()
        self._titles: dict[str, KeyPath] = {}

    def read(self, index: int, entry: object) -> FunctionTest | None:
        at = ("tests", index)
        known = len(self._findings.problems)
        values = read_table(entry, FunctionTestTable, at, self._findings)
        if isinstance(entry, dict):
            said = {*entry, *unclear(entry, values, FunctionTestTable)}
            for key, message in (*_choices(said), *self._contradictions(values, said)):
                self._findings.add((*at, key) if key else at, message)
        texts = dict(self._texts(values, at))
        if len(self._findings.problems) > known:
            return None
        test = self._test(values, texts, at)
        return test if self._is_new(test, at) else None

    def _contradictions(self, values: Mapping[str, Any], said: Collection[str]) -> Iterator[tuple[str, str]]:
        function = values.get("function")
        if function is not None and self._functions and function not in self._functions:
            hint = did_you_mean(function, self._functions, otherwise="there are", quote=quoted)
            yield "function", f"expected the name of a function, found {quoted(function)}; {hint}"
        if "tolerance" in said and not any(map(_has_numbers, said, (values.get(key) for key in said))):
            yield "tolerance", "is for the numbers of result, result_json, result_subset or a result_file *.json"
        if "result_matches" in values and (problem := _pattern_problem(values["result_matches"])):
            yield "result_matches", f"not a regular expression: {problem}"

    def _texts(self, values: Mapping[str, Any], at: KeyPath) -> Iterator[tuple[str, Source]]:
        """The query and the result as text, or as the file that they are in; what is no JSON is in the findings."""
        for key in ("query", "result", "result_subset"):
            if key in values and (text := read_json(values[key], (*at, key), self._findings)) is not None:
                yield key, text
        for key in ("query_json", "result_json"):
            if key in values:
                yield key, self._json(values[key], (*at, key))
        for key in ("query_file", "result_file"):
            if key in values:
                yield key, self._folder / values[key]
        if "result_text" in values:
            yield "result_text", values["result_text"].encode()

    def _json(self, text: str, at: KeyPath) -> bytes:
        if (problem := json_problem(text.encode())) is not None:
            self._findings.add(at, f"not JSON: {problem}")
        return text.encode()

    def _test(self, values: Mapping[str, Any], texts: Mapping[str, Source], at: KeyPath) -> FunctionTest:
        function = values["function"]
        self._numbers[function] += 1
        return FunctionTest(
            at=dotted(at),
            function=function,
            number=self._numbers[function],
            name=values.get("name"),
            query=next(texts[key] for key in QUERIES if key in texts),
            expected=_expected(values, texts),
            timeout=values.get("timeout"),
        )

    def _is_new(self, test: FunctionTest, at: KeyPath) -> bool:
        first = self._titles.setdefault(test.title, at)
        if first is at:
            return True
        self._findings.add((*at, "name"), f"{quoted(test.label)} is the name of {dotted(first)} already")
        return False


def _choices(said: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the number of queries and expectations."""
    yield from _one_of([[key] for key in QUERIES], said, "a test has one query")
    expectations = [*([key] for key in RESULTS), list(ERRORS)]
    yield from _one_of(expectations, said, "a test expects one thing")


def _one_of(groups: list[list[str]], said: Collection[str], why: str) -> Iterator[tuple[str, str]]:
    there = [[key for key in group if key in said] for group in groups]
    there = [group for group in there if group]
    if not there:
        *most, last = (key for group in groups for key in group)
        yield "", f"expected {', '.join(most)} or {last}, found none of them"
    for group in there[1:]:
        yield group[0], f"cannot be with {there[0][0]}: {why}"


def _has_numbers(key: str, value: object) -> bool:
    """Whether a key, with its value where it is right, says what a result's numbers are."""
    return key in _WITH_NUMBERS and (key != "result_file" or not isinstance(value, str) or _is_json_file(value))


def _is_json_file(name: str) -> bool:
    return name.lower().endswith(".json")


def _pattern_problem(pattern: str) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None


def _expected(values: Mapping[str, Any], texts: Mapping[str, Source]) -> Expectation:
    if "error" in values or "error_contains" in values:
        reason = Reason(values["error"]) if "error" in values else None
        return JobFails(reason=reason, contains=values.get("error_contains"))
    if "result_matches" in values:
        return ResultMatches(pattern=values["result_matches"])
    key = next(key for key in RESULTS if key in texts)
    if key == "result_text" or (key == "result_file" and not _is_json_file(values[key])):
        return ResultIsBytes(body=texts[key])
    return ResultIsJson(text=texts[key], subset=key == "result_subset", tolerance=values.get("tolerance", 0.0))
