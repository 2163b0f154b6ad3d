"""The `[[tests]]` of a cm.toml."""

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from cm_exec.config import ExpectedOutcome, FunctionTest, JobFails, ResultIsBytes, ResultIsJson, ResultMatches, Source
from cm_exec.config.checks import invalid_keys
from cm_exec.config.schema import FunctionTestTable
from cm_exec.config.schema.keys import JSON_WORDS
from cm_exec.config.validate import Diagnostics, KeyPath, describe, dotted, read_table
from cm_exec.protocol.failure import Reason
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import did_you_mean, quoted

QUERIES: Final = ("query", "query_json", "query_file")
"""A test has exactly one of these keys."""

RESULTS: Final = ("result", "result_json", "result_subset", "result_text", "result_file", "result_matches")
ERRORS: Final = ("error", "error_contains")
"""A test has exactly one of the results, or one or both of the errors."""

_WITH_NUMBERS: Final = ("result", "result_json", "result_subset", "result_file")
_DEEPEST_JSON: Final = 100
_LARGEST_INTEGER_BITS: Final = 13_000
"""Python writes integers of up to 4300 digits."""


def read_tests(
    entries: object, functions: Collection[str], folder: Path, diagnostics: Diagnostics
) -> list[FunctionTest]:
    """Return the valid tests. `functions` are the names of all functions, `folder` is the folder of cm.toml."""
    if not isinstance(entries, list):
        message = f"expected an array of tables, each under [[tests]], found {describe(entries)}"
        diagnostics.add(("tests",), f"{message}; did you mean [[tests]]?" if isinstance(entries, dict) else message)
        return []
    reader = _TestReader(functions, folder, diagnostics)
    return [test for index, entry in enumerate(entries) if (test := reader.read(index, entry)) is not None]


class _TestReader(Struct):
    """Reads the tests in order, and numbers those of each function."""

    functions: Collection[str]
    folder: Path
    diagnostics: Diagnostics
    numbers: Counter[str] = field(default_factory=Counter)
    titles: dict[str, KeyPath] = field(default_factory=dict)

    def read(self, index: int, entry: object) -> FunctionTest | None:
        at = ("tests", index)
        known = len(self.diagnostics.problems)
        values = read_table(entry, FunctionTestTable, at, self.diagnostics)
        if isinstance(entry, dict):
            keys = {*entry, *invalid_keys(entry, values, FunctionTestTable)}
            for key, message in (*_wrong_number_of_keys(keys), *self._conflicts(values, keys)):
                self.diagnostics.add((*at, key) if key else at, message)
        texts = dict(self._texts(values, at))
        if len(self.diagnostics.problems) > known:
            return None
        test = self._test(values, texts, at)
        return test if self._is_new(test, at) else None

    def _conflicts(self, values: Mapping[str, Any], keys: Collection[str]) -> Iterator[tuple[str, str]]:
        function = values.get("function")
        if function is not None and self.functions and function not in self.functions:
            hint = did_you_mean(function, self.functions, otherwise="there are", quote=quoted)
            yield "function", f"expected the name of a function, found {quoted(function)}; {hint}"
        if "tolerance" in keys and not any(map(_has_numbers, keys, (values.get(key) for key in keys))):
            yield "tolerance", "is for the numbers of result, result_json, result_subset or a result_file *.json"
        if "result_matches" in values and (problem := _pattern_problem(values["result_matches"])):
            yield "result_matches", f"not a regular expression: {problem}"

    def _texts(self, values: Mapping[str, Any], at: KeyPath) -> Iterator[tuple[str, Source]]:
        """Yield the query and the result as text, or as the file that contains it; report what is not JSON."""
        for key in ("query", "result", "result_subset"):
            if key in values and (text := self._json_text(values[key], (*at, key))) is not None:
                yield key, text
        for key in ("query_json", "result_json"):
            if key in values:
                text = values[key].encode()
                if (problem := json_problem(text)) is not None:
                    self.diagnostics.add((*at, key), f"not JSON: {problem}")
                yield key, text
        for key in ("query_file", "result_file"):
            if key in values:
                yield key, self.folder / values[key]
        if "result_text" in values:
            yield "result_text", values["result_text"].encode()

    def _json_text(self, value: object, at: KeyPath) -> bytes | None:
        """Return a TOML value as JSON; None if JSON cannot express it, which is reported."""
        wrong = list(_not_in_json(value, ()))
        for inside, message in wrong:
            self.diagnostics.add((*at, *inside), message)
        return None if wrong else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def _test(self, values: Mapping[str, Any], texts: Mapping[str, Source], at: KeyPath) -> FunctionTest:
        function = values["function"]
        self.numbers[function] += 1
        return FunctionTest(
            at=dotted(at),
            function=function,
            number=self.numbers[function],
            name=values.get("name"),
            query=next(texts[key] for key in QUERIES if key in texts),
            expected=_expected(values, texts),
            timeout=values.get("timeout"),
            user_id=values.get("user_id"),
        )

    def _is_new(self, test: FunctionTest, at: KeyPath) -> bool:
        first = self.titles.setdefault(test.title, at)
        if first is at:
            return True
        self.diagnostics.add((*at, "name"), f"{quoted(test.label)} is already the name of {dotted(first)}")
        return False


def _not_in_json(value: object, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield what JSON cannot express, with its place."""
    if len(at) > _DEEPEST_JSON:
        yield at[:1], f"nested more than {_DEEPEST_JSON} deep"
        return
    match value:
        case dict():
            for name, inner in value.items():
                yield from _not_in_json(inner, (*at, name))
        case list():
            for index, inner in enumerate(value):
                yield from _not_in_json(inner, (*at, index))
        case str() | bool():
            return
        case float() if math.isfinite(value):
            return
        case int() if value.bit_length() <= _LARGEST_INTEGER_BITS:
            return
        case float() | int():
            yield at, f"expected {JSON_WORDS}, found {describe(value)}"
        case _:
            text = str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
            yield at, f"expected {JSON_WORDS}, found {describe(value)}; did you mean {quoted(text)}?"


def _wrong_number_of_keys(keys: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the number of queries and expected outcomes."""
    yield from _exactly_one([[key] for key in QUERIES], keys, "a test has one query")
    yield from _exactly_one([*([key] for key in RESULTS), list(ERRORS)], keys, "a test expects one outcome")


def _exactly_one(groups: list[list[str]], keys: Collection[str], why: str) -> Iterator[tuple[str, str]]:
    present = [[key for key in group if key in keys] for group in groups]
    present = [group for group in present if group]
    if not present:
        *most, last = (key for group in groups for key in group)
        yield "", f"expected {', '.join(most)} or {last}, found none of them"
    for group in present[1:]:
        yield group[0], f"cannot be combined with {present[0][0]}: {why}"


def _has_numbers(key: str, value: object) -> bool:
    """Return whether a key with this value, None for an invalid one, has numbers to compare."""
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


def _expected(values: Mapping[str, Any], texts: Mapping[str, Source]) -> ExpectedOutcome:
    if "error" in values or "error_contains" in values:
        reason = Reason(values["error"]) if "error" in values else None
        return JobFails(reason=reason, contains=values.get("error_contains"))
    if "result_matches" in values:
        return ResultMatches(pattern=values["result_matches"])
    key = next(key for key in RESULTS if key in texts)
    if key == "result_text" or (key == "result_file" and not _is_json_file(values[key])):
        return ResultIsBytes(body=texts[key])
    return ResultIsJson(text=texts[key], subset=key == "result_subset", tolerance=values.get("tolerance", 0.0))
