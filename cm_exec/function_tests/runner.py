"""Runs the tests of cm.toml with handlers of their own."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.function_tests import PreparedTest
from cm_exec.function_tests.outcome import OutcomeProblem, check_outcome
from cm_exec.handlers import HandlerContext
from cm_exec.handlers.factory import concurrency_limits, create_handlers
from cm_exec.protocol import Job
from cm_exec.worker.job import JobRunner, LocalPost, SpooledResult
from cm_exec.worker.queue import JobQueue

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
