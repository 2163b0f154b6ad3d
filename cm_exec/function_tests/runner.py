"""Runs tests concurrently, each as a job by the coroutine that the worker uses."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.function_tests.cases import PreparedTest
from cm_exec.function_tests.outcome import OutcomeProblem, check_outcome
from cm_exec.handlers.base import Handler, HandlerContext
from cm_exec.handlers.factory import concurrency_limits, create_handlers
from cm_exec.protocol.job import Job
from cm_exec.worker.job import JobRunner, LocalPost, ResultSpool
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


class StderrTail:
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
        shared = self._shared_handlers()
        for job_id, case in self._jobs.items():
            self._queue.put(Job(job_id=job_id, query_type=case.test.function, query=case.query))
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                while (job := self._queue.take()) is not None:
                    assert isinstance(job, Job)  # noqa: S101 - for the type checker
                    running.add(asyncio.ensure_future(self._run(job, shared)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for handler in shared.values():
                await handler.close()

    def _shared_handlers(self) -> "dict[HandlerKey, SharedHandler]":
        """Create the handlers; functions of one service share its processes."""
        numbers = Counter(map(_handler_key, self._jobs.values()))
        shared = {}
        for timeout in dict.fromkeys(timeout for _, timeout in numbers):
            functions = {
                name: function if timeout is None else replace(function, timeout=timeout or None)
                for name, function in self._functions.items()
                if (name, timeout) in numbers
            }
            slots = min(self._slots, sum(number for (_, of), number in numbers.items() if of == timeout))
            handlers = create_handlers(functions.values(), self._context, slots=slots)
            for name, handler in handlers.items():
                shared[name, timeout] = SharedHandler(functions[name], handler, tests=numbers[name, timeout])
        return shared

    async def _run(self, job: Job, shared: "Mapping[HandlerKey, SharedHandler]") -> None:
        case = self._jobs[job.job_id]
        handler = shared[_handler_key(case)]
        try:
            if not (self._context.stopping or (self._fail_fast and self._failed)):
                await self._run_test(job, case, handler)
        finally:
            await handler.release()
            self._queue.done(job, answered=True)

    async def _run_test(self, job: Job, case: PreparedTest, shared: "SharedHandler") -> None:
        stderr, kept = StderrTail(), KeptResult()
        runner = JobRunner(
            {job.query_type: shared.handler},
            kept,
            open_stderr=lambda _job, _tags: stderr,
            abort=self._context.abort,
            is_stopping=lambda: self._context.stopping,
            log_answers=False,
        )
        await shared.open()
        started = time.monotonic()
        answer = await runner.answer(job)
        seconds = time.monotonic() - started
        if self._context.stopping:
            return
        problem = check_outcome(case, shared.function, answer.failure or kept.body, stderr.getvalue())
        self._failed = self._failed or problem is not None
        self._on_end(CompletedTest(case=case, seconds=seconds, problem=problem, stderr=stderr.getvalue()))


class KeptResult:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.body = b""

    async def deliver(self, _job_id: str, body: bytes | ResultSpool) -> LocalPost:
        """Keep a result or an error."""
        self.body = body if isinstance(body, bytes) else body.getvalue()
        return LocalPost()

    async def stream(self, _job_id: str, chunks: AsyncIterator[bytes]) -> LocalPost:
        """Keep a streamed result."""
        self.body = b"".join([chunk async for chunk in chunks])
        return LocalPost()


HandlerKey = tuple[str, float | None]
"""A function, and the timeout that the test has instead of the function's own."""


def _handler_key(case: PreparedTest) -> HandlerKey:
    """Return the key of the shared handler: tests with their own timeout need a handler of their own."""
    return case.test.function, case.test.timeout


class SharedHandler:
    """A function's handler, opened for the first of its `tests` and closed after the last.

    So functions that load for long, or need much memory, run one after the other.
    """

    def __init__(self, function: Function, handler: Handler, *, tests: int) -> None:
        self.function = function
        self.handler = handler
        self._left = tests
        self._is_open = False

    async def open(self) -> None:
        """Open the handler, unless it is open."""
        if not self._is_open:
            self._is_open = True
            await self.handler.open()

    async def release(self) -> None:
        """Note that one test is over; close the handler after the last."""
        self._left -= 1
        if not self._left:
            await self.close()

    async def close(self) -> None:
        """End the function's processes; safe to call again."""
        was_open, self._is_open = self._is_open, False
        if was_open:
            await self.handler.close()
