"""Checks whether the job of a test ends as the test expects."""

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cm_exec.config import Function, JobFails, ResultIsBytes, ResultIsJson, ResultMatches, Source
from cm_exec.datatypes import DataType
from cm_exec.function_tests import PreparedTest
from cm_exec.function_tests.comparison import (
    ComparisonOptions,
    arranged,
    beginning,
    decode,
    differences,
    text_differences,
)
from cm_exec.handlers.factory import Validator
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.json_text import InvalidJsonError, json_problem
from cm_exec.text import count_text

_MOST_DIFFERENCES: Final = 12
"""Differences that are shown."""

_MOST_COUNTED: Final = 10_000

_NOT_JSON: Final = "for results that are not JSON use result_text, result_file or result_matches"
_NOT_AS_EXPECTED: Final = "the result is not as expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeProblem:
    """Why a test failed: a sentence, and lines that show it.

    `reason` is set if the job itself failed, though a result was expected.
    """

    message: str
    details: tuple[str, ...] = ()
    reason: str | None = None


def check_outcome(
    case: PreparedTest, function: Function, outcome: bytes | Failure, stderr: bytes
) -> OutcomeProblem | None:
    """Check the outcome of a test's job, a result or a failure; return the problem, None if there is none.

    `stderr` is the handler's. Query and result must match the function's `inputs` and `returns`, whether or not they
    are checked in production; but if an error is expected, any query may be sent.
    """
    if isinstance(case.expected, JobFails):
        return _check_failure(case.expected, outcome, stderr)
    validator = Validator(function)
    invalid = validator.query_problem(case.query)
    if isinstance(outcome, Failure):
        details = [f"the query does not match inputs: {invalid}"] if invalid and not function.check_queries else []
        details += [f"its error: {_own_error(outcome)}"] if outcome.error else []
        details += _shown(outcome.output, "its output") if outcome.output else ()
        return OutcomeProblem(message=outcome.message, details=tuple(details), reason=outcome.reason.value)
    if invalid is not None:
        return OutcomeProblem(message=f"the query does not match the inputs of {function.name!r}: {invalid}")
    if (problem := validator.result_problem(outcome)) is not None:
        message = f"the result does not match what {function.name!r} returns: {problem}"
        return OutcomeProblem(message=message, details=_shown(outcome))
    return _check_result(case.expected, outcome, function.returns.type if function.returns else None)


def _check_failure(expected: JobFails, outcome: bytes | Failure, stderr: bytes) -> OutcomeProblem | None:
    what = f"the error {expected.reason.value!r}" if expected.reason else "an error"
    if not isinstance(outcome, Failure):
        return OutcomeProblem(message=f"expected {what}, found a result", details=_shown(outcome))
    if expected.reason not in {None, outcome.reason}:
        return OutcomeProblem(message=f"expected {what}, found {outcome.reason.value!r}: {outcome.message}")
    said = f"{outcome.message}\n{_own_error(outcome)}\n{_readable_error(outcome)}\n{stderr.decode(errors='replace')}"
    if expected.contains is not None and expected.contains not in said:
        found = f"{outcome.message} {_own_error(outcome)}".strip() + f" ({outcome.reason.value})"
        return OutcomeProblem(message=f"expected {expected.contains!r} in the error or in stderr, found: {found}")
    return None


def _own_error(failure: Failure) -> str:
    """Return the error that the handler itself reported, as JSON; empty if there is none."""
    return bytes(failure.error or b"").decode(errors="replace")


def _readable_error(failure: Failure) -> str:
    """Return the same without escapes: a text as it is, and other JSON as cm-exec would write it."""
    try:
        error = None if failure.error is None else decode(bytes(failure.error))
    except InvalidJsonError:
        return ""
    return error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, default=str)


def _check_result(
    expected: ResultIsJson | ResultIsBytes | ResultMatches, result: bytes, type_: DataType | None
) -> OutcomeProblem | None:
    match expected:
        case ResultIsJson():
            return _check_json(expected, result, type_)
        case ResultIsBytes(body=body) if (content := _content(body)) != result:
            return OutcomeProblem(message=_NOT_AS_EXPECTED, details=tuple(text_differences(content, result)))
        case ResultMatches(pattern=pattern):
            return _check_match(pattern, result)
    return None


def _check_json(expected: ResultIsJson, result: bytes, type_: DataType | None) -> OutcomeProblem | None:
    if result == expected.text and json_problem(result) is None:
        return None
    options = ComparisonOptions(subset=expected.subset, tolerance=expected.tolerance)
    try:
        wanted, value = decode(_content(expected.text)), decode(result)
        found = differences(wanted, value if type_ is None else arranged(wanted, value, type_, options), options)
        first = tuple(islice(found, _MOST_DIFFERENCES))
        more = sum(1 for _ in islice(found, _MOST_COUNTED))
    except InvalidJsonError as error:
        return OutcomeProblem(message=f"the result is not valid JSON: {error}", details=(*_shown(result), _NOT_JSON))
    except RecursionError:
        return OutcomeProblem(message="the result is nested too deeply to be compared")
    if not first:
        return None
    rest = (f"and {'at least ' if more == _MOST_COUNTED else ''}{more:,} more",) if more else ()
    return OutcomeProblem(message=_NOT_AS_EXPECTED, details=(*first, *rest))


def _content(source: Source) -> bytes:
    assert isinstance(source, bytes)  # noqa: S101 - read_cases has read the file
    return source


def _check_match(pattern: str, result: bytes) -> OutcomeProblem | None:
    try:
        found = re.search(pattern, result.decode()) is not None
    except UnicodeDecodeError:
        try:
            found = re.search(pattern.encode(), result) is not None
        except re.error:  # syntax that is valid only in a pattern for text
            found = False
    return None if found else OutcomeProblem(message=f"the result has no match for {pattern!r}", details=_shown(result))


def _shown(body: bytes, name: str = "the result") -> tuple[str, ...]:
    """Show the beginning of a result, or of other output."""
    if not body:
        return (f"{name} is empty",)
    lines = beginning(body).rstrip("\n").split("\n")
    return (f"{name}, {count_text(len(body), 'byte')}:", *(f"| {line}" for line in lines))
