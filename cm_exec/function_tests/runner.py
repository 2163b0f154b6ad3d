"""Runs the tests of cm.toml, and checks whether their jobs end as they expect."""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.config.model import JobFails, ResultIsBytes, ResultIsJson, ResultMatches, Source
from cm_exec.function_tests.cases import PreparedTest
from cm_exec.function_tests.comparison import ComparisonOptions, beginning, decode, differences, text_differences
from cm_exec.handlers.base import HandlerContext
from cm_exec.handlers.factory import Validator, concurrency_limits, create_handlers
from cm_exec.protocol.job import Failure, Job
from cm_exec.protocol.json_text import InvalidJsonError, json_problem
from cm_exec.text import count_text
from cm_exec.worker.job import JobQueue, JobRunner, LocalPost, SpooledResult

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
    invalid = Validator(function).query_problem(case.query)
    if isinstance(outcome, Failure):
        details = [f"the query does not match inputs: {invalid}"] if invalid and not function.check_queries else []
        details += [f"its error: {_own_error(outcome)}"] if outcome.error else []
        details += _shown(outcome.output, "its output") if outcome.output else ()
        return OutcomeProblem(message=outcome.message, details=tuple(details), reason=outcome.reason.value)
    if invalid is not None:
        return OutcomeProblem(message=f"the query does not match the inputs of {function.name!r}: {invalid}")
    if (problem := Validator(function).result_problem(outcome)) is not None:
        message = f"the result does not match what {function.name!r} returns: {problem}"
        return OutcomeProblem(message=message, details=_shown(outcome))
    return _check_result(case.expected, outcome)


def _check_failure(expected: JobFails, outcome: bytes | Failure, stderr: bytes) -> OutcomeProblem | None:
    what = f"the error {expected.reason.value!r}" if expected.reason else "an error"
    if not isinstance(outcome, Failure):
        return OutcomeProblem(message=f"expected {what}, found a result", details=_shown(outcome))
    if expected.reason not in {None, outcome.reason}:
        return OutcomeProblem(message=f"expected {what}, found {outcome.reason.value!r}: {outcome.message}")
    said = f"{outcome.message}\n{_own_error(outcome)}\n{stderr.decode(errors='replace')}"
    if expected.contains is not None and expected.contains not in said:
        found = f"{outcome.message} {_own_error(outcome)}".strip() + f" ({outcome.reason.value})"
        return OutcomeProblem(message=f"expected {expected.contains!r} in the error or in stderr, found: {found}")
    return None


def _own_error(failure: Failure) -> str:
    """Return the error that the handler itself reported, as JSON; empty if there is none."""
    return bytes(failure.error or b"").decode(errors="replace")


def _check_result(expected: ResultIsJson | ResultIsBytes | ResultMatches, result: bytes) -> OutcomeProblem | None:
    match expected:
        case ResultIsJson():
            return _check_json(expected, result)
        case ResultIsBytes(body=body) if (content := _content(body)) != result:
            return OutcomeProblem(message=_NOT_AS_EXPECTED, details=tuple(text_differences(content, result)))
        case ResultMatches(pattern=pattern):
            return _check_match(pattern, result)
    return None


def _check_json(expected: ResultIsJson, result: bytes) -> OutcomeProblem | None:
    if result == expected.text and json_problem(result) is None:
        return None
    options = ComparisonOptions(subset=expected.subset, tolerance=expected.tolerance)
    try:
        found = differences(decode(_content(expected.text)), decode(result), options)
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


STDERR_LIMIT: Final = 64 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedTest:
    """A test that has run: its duration in seconds, the end of its stderr, and the problem if it failed."""

    case: PreparedTest
    seconds: float
    problem: OutcomeProblem | None
    stderr: bytes


class CapturedStderr:
    """Keeps the end of a handler's stderr."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._kept += chunk
        if len(self._kept) > 2 * STDERR_LIMIT:
            del self._kept[:-STDERR_LIMIT]

    def getvalue(self) -> bytes:
        """Return the last 64 KiB."""
        return bytes(self._kept[-STDERR_LIMIT:])

    def flush(self) -> None:
        """Do nothing: partial lines are kept, too."""


class FunctionTestRunner:
    """Runs each case once, in the order of the file as far as there are slots.

    `on_end` is called when a test has ended. With `fail_fast` no test starts after one has failed. None starts after
    the context is stopping either; running ones are then ended and not reported.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        cases: Sequence[PreparedTest],
        context: HandlerContext,
        *,
        slots: int,
        fail_fast: bool,
        on_end: Callable[[CompletedTest], None],
    ) -> None:
        self._functions = functions
        self._context = context
        self._slots = min(slots, len(cases))
        self._fail_fast = fail_fast
        self._on_end = on_end
        self._jobs = {f"test-{os.urandom(8).hex()}": case for case in cases}
        self._queue = JobQueue(self._slots, concurrency_limits(functions.values()))
        self._failed = False

    async def run(self) -> None:
        """Run all tests and return when every process has ended."""
        groups = self._group_handlers()
        for job_id, case in self._jobs.items():
            test = case.test
            self._queue.put(Job(job_id=job_id, query_type=test.function, query=case.query, user_id=test.user_id))
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                while (job := self._queue.take()) is not None:
                    assert isinstance(job, Job)  # noqa: S101 - for the type checker
                    running.add(asyncio.ensure_future(self._run(job, groups)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for group in groups.values():
                await group.close()

    def _group_handlers(self) -> "dict[GroupKey, HandlerGroup]":
        """Create the handlers that tests share."""
        numbers = Counter(self._group_key(case) for case in self._jobs.values())
        members: dict[GroupKey, dict[str, Function]] = {key: {} for key in numbers}
        for case in self._jobs.values():
            function, timeout = self._functions[case.test.function], case.test.timeout
            changed = function if timeout is None else replace(function, timeout=timeout or None)
            members[self._group_key(case)][function.name] = changed
        return {
            key: HandlerGroup(functions, self._context, tests=numbers[key], slots=min(self._slots, numbers[key]))
            for key, functions in members.items()
        }

    def _group_key(self, case: PreparedTest) -> "GroupKey":
        service = self._functions[case.test.function].service
        return service.name if service else case.test.function, case.test.timeout

    async def _run(self, job: Job, groups: "Mapping[GroupKey, HandlerGroup]") -> None:
        case = self._jobs[job.job_id]
        group = groups[self._group_key(case)]
        try:
            if not (self._context.stopping or (self._fail_fast and self._failed)):
                await self._run_test(job, case, group)
        finally:
            await group.release()
            self._queue.done(job, answered=True)

    async def _run_test(self, job: Job, case: PreparedTest, group: "HandlerGroup") -> None:
        stderr, kept = CapturedStderr(), KeptResult()
        runner = JobRunner(
            group.handlers,
            kept,
            open_stderr=lambda _job, _tags: stderr,
            abort=self._context.abort,
            is_stopping=lambda: self._context.stopping,
            log_answers=False,
        )
        await group.open()
        started = time.monotonic()
        answer = await runner.answer(job)
        seconds = time.monotonic() - started
        if self._context.stopping:
            return
        function = group.functions[job.query_type]
        # a process that did not become ready has written before the job came to it
        said = stderr.getvalue() or (answer.failure.stderr if answer.failure else b"")
        problem = check_outcome(case, function, answer.failure or kept.body, said)
        self._failed = self._failed or problem is not None
        self._on_end(CompletedTest(case=case, seconds=seconds, problem=problem, stderr=said))


class KeptResult:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.body = b""

    async def deliver(self, _job_id: str, body: bytes | SpooledResult) -> LocalPost:
        """Keep a result or an error."""
        self.body = body if isinstance(body, bytes) else body.getvalue()
        return LocalPost()

    async def stream(self, _job_id: str, chunks: AsyncIterator[bytes]) -> LocalPost:
        """Keep a streamed result."""
        self.body = b"".join([chunk async for chunk in chunks])
        return LocalPost()


GroupKey = tuple[str, float | None]
"""A service or a function, and the timeout that the test has instead of the function's own."""


class HandlerGroup:
    """The handlers of the functions that share processes, opened for the first of their tests, closed after the last.

    So functions that load for long, or need much memory, run one after the other.
    """

    def __init__(self, functions: Mapping[str, Function], context: HandlerContext, *, tests: int, slots: int) -> None:
        self.functions = functions
        self.handlers = create_handlers(functions.values(), context, slots=slots)
        self._left = tests
        self._is_open = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Open the handlers, unless they are open."""
        async with self._opening:
            if not self._is_open:
                self._is_open = True
                for handler in self.handlers.values():
                    await handler.open()

    async def release(self) -> None:
        """Note that one test is over; close the handlers after the last."""
        self._left -= 1
        if not self._left:
            await self.close()

    async def close(self) -> None:
        """End the processes; safe to call again."""
        was_open, self._is_open = self._is_open, False
        if was_open:
            for handler in self.handlers.values():
                await handler.close()
