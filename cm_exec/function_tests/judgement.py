"""Whether a job went as its test expects."""

import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cm_exec.cli.words import count_text
from cm_exec.config import Function
from cm_exec.config.function_test import JobFails, ResultIsBytes, ResultIsJson, ResultMatches, Source
from cm_exec.function_tests.case import Case
from cm_exec.function_tests.difference import Likeness, NotJsonError, decode, differences
from cm_exec.function_tests.excerpt import beginning
from cm_exec.function_tests.text_difference import text_differences
from cm_exec.handlers.contract import query_problem, result_problem
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.json_text import json_problem

_MOST: Final = 12
"""Differences that are shown."""

_MOST_COUNTED: Final = 10_000

_NOT_JSON: Final = "result_text, result_file and result_matches are for results that are no JSON"
_NOT_AS_EXPECTED: Final = "the result is not what is expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Why a test failed: a sentence, and lines that show it.

    `reason` is set where the job itself failed, though a result was expected.
    """

    message: str
    details: tuple[str, ...] = ()
    reason: str | None = None


def judge(case: Case, function: Function, ended: bytes | Failure, stderr: bytes) -> Complaint | None:
    """What is wrong with how the job of `case` ended, as its result or as a failure; None where all is well.

    `stderr` is what the handler wrote there. A query and a result must fit what the function declares as `inputs` and
    `returns`, whether they are checked in production or not; but where an error is expected, any query may be sent.
    """
    if isinstance(case.expected, JobFails):
        return _judge_failure(case.expected, ended, stderr)
    misfit = query_problem(function, case.query)
    if isinstance(ended, Failure):
        details = (f"the query does not fit inputs: {misfit}",) if misfit and not function.check_queries else ()
        return Complaint(message=ended.message, details=details, reason=ended.reason.value)
    if misfit is not None:
        return Complaint(message=f"the query does not fit the inputs of {function.name!r}: {misfit}")
    if (problem := result_problem(function, ended)) is not None:
        return Complaint(message=f"the result is not what {function.name!r} returns: {problem}", details=_shown(ended))
    return _judge_result(case.expected, ended)


def _judge_result(expected: ResultIsJson | ResultIsBytes | ResultMatches, result: bytes) -> Complaint | None:
    match expected:
        case ResultIsJson():
            return _judge_json(expected, result)
        case ResultIsBytes(body=body):
            return _judge_bytes(_read(body), result)
        case ResultMatches(pattern=pattern):
            return _judge_match(pattern, result)


def _judge_bytes(expected: bytes, result: bytes) -> Complaint | None:
    if result == expected:
        return None
    return Complaint(message=_NOT_AS_EXPECTED, details=tuple(text_differences(expected, result)))


def _judge_failure(expected: JobFails, ended: bytes | Failure, stderr: bytes) -> Complaint | None:
    what = f"the error {expected.reason.value!r}" if expected.reason else "an error"
    if not isinstance(ended, Failure):
        return Complaint(message=f"expected {what}, found a result", details=_shown(ended))
    told = f"{ended.message} ({ended.reason.value})"
    if expected.reason not in {None, ended.reason}:
        return Complaint(message=f"expected {what}, found {ended.reason.value!r}: {ended.message}")
    said = f"{ended.message}\n{stderr.decode(errors='replace')}"
    if expected.contains is not None and expected.contains not in said:
        return Complaint(message=f"expected {expected.contains!r} in the error or in stderr, found: {told}")
    return None


def _judge_json(expected: ResultIsJson, result: bytes) -> Complaint | None:
    if result == expected.text and json_problem(result) is None:
        return None
    likeness = Likeness(subset=expected.subset, tolerance=expected.tolerance)
    try:
        found = differences(decode(_read(expected.text)), decode(result), likeness)
        first = tuple(islice(found, _MOST))
        more = sum(1 for _ in islice(found, _MOST_COUNTED))
    except NotJsonError as error:
        return Complaint(message=f"the result is not JSON: {error}", details=(*_shown(result), _NOT_JSON))
    except RecursionError:
        return Complaint(message="the result is nested too deep to be compared")
    if not first:
        return None
    rest = (f"and {'at least ' if more == _MOST_COUNTED else ''}{more:,} more",) if more else ()
    return Complaint(message=_NOT_AS_EXPECTED, details=(*first, *rest))


def _read(source: Source) -> bytes:
    assert isinstance(source, bytes)  # noqa: S101 - read_cases has read the file
    return source


def _judge_match(pattern: str, result: bytes) -> Complaint | None:
    try:
        found = re.search(pattern, result.decode()) is not None
    except UnicodeDecodeError:
        found = _found_in_bytes(pattern, result)
    if found:
        return None
    return Complaint(message=f"nothing in the result matches {pattern!r}", details=_shown(result))


def _found_in_bytes(pattern: str, result: bytes) -> bool:
    try:
        return re.search(pattern.encode(), result) is not None
    except re.error:  # what only a pattern for text may have
        return False


def _shown(result: bytes) -> tuple[str, ...]:
    """The beginning of a result."""
    if not result:
        return ("the result is empty",)
    lines = beginning(result).rstrip("\n").split("\n")
    return (f"the result, {count_text(len(result), 'byte')}:", *(f"| {line}" for line in lines))
