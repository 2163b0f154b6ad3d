"""Runs tests concurrently, each as a job by its function's own handler."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.function_tests.cases import PreparedTest
from cm_exec.function_tests.outcome import OutcomeProblem, check_outcome
from cm_exec.handlers.handler import Handler, Outcome, Stream, Surroundings
from cm_exec.handlers.modes import create_handlers, shares
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job
from cm_exec.worker.job_queue import JobQueue

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


class FunctionTestRunner:
    """Runs each case once, in the order of the file as far as there are slots.

    `on_end` is called when a test has ended, from several threads. With `fail_fast` no test starts after one has
    failed. None starts after `surroundings.stop` is set either; running ones are then ended and not reported.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        cases: Sequence[PreparedTest],
        surroundings: Surroundings,
        *,
        slots: int,
        fail_fast: bool,
        on_end: Callable[[CompletedTest], None],
    ) -> None:
        self._surroundings = surroundings
        self._slots = min(slots, len(cases))
        self._fail_fast = fail_fast
        self._on_end = on_end
        self._jobs = {f"test-{os.urandom(8).hex()}": case for case in cases}
        self._shared = {
            key: SharedHandler(functions[key[0]], key[1], surroundings, tests=number, slots=self._slots)
            for key, number in Counter(map(_handler_key, cases)).items()
        }
        self._queue = JobQueue(shares(functions.values()))
        self._ending = False
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Run all tests and return when every process has ended."""
        for job_id, case in self._jobs.items():
            self._queue.put(Job(job_id=job_id, query_type=case.test.function, query=case.query))
        self._queue.close()
        threads = [threading.Thread(target=self._work, name=f"slot-{n}", daemon=True) for n in range(self._slots)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for shared in self._shared.values():
                shared.close()
        for error in self._errors:
            raise error

    def _work(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                if isinstance(job, Job) and not (self._ending or self._surroundings.stop.is_set):
                    self._run(job, self._jobs[job.job_id])
            except BaseException as error:  # noqa: BLE001 - raised again by run()
                self._errors.append(error)
                self._ending = True
            finally:
                self._queue.done(job)

    def _run(self, job: Job, case: PreparedTest) -> None:
        shared, stderr = self._shared[_handler_key(case)], StderrTail()
        with shared.handler() as handler:
            started = time.monotonic()
            with handler.run(job, stderr.write) as outcome:
                ended = _complete(outcome)
            seconds = time.monotonic() - started
        if self._surroundings.stop.is_set:
            return
        problem = check_outcome(case, shared.function, ended, stderr.getvalue())
        if problem is not None and self._fail_fast:
            self._ending = True
        self._on_end(CompletedTest(case=case, seconds=seconds, problem=problem, stderr=stderr.getvalue()))


def _handler_key(case: PreparedTest) -> tuple[str, float | None]:
    """Return the key of the shared handler: tests with their own timeout need a handler of their own."""
    return case.test.function, case.test.timeout


class SharedHandler:
    """A function's handler, opened for the first of its `tests` and closed after the last.

    So functions that load for long, or need much memory, run one after the other.
    """

    def __init__(
        self, function: Function, timeout: float | None, surroundings: Surroundings, *, tests: int, slots: int
    ) -> None:
        self.function = function if timeout is None else replace(function, timeout=timeout or None)
        self._handler = create_handlers([self.function], surroundings, slots=min(slots, tests))[function.name]
        self._left = tests
        self._is_open = False
        self._lock = threading.Lock()

    @contextmanager
    def handler(self) -> Iterator[Handler]:
        """Yield the open handler for one test."""
        with self._lock:
            if not self._is_open:
                self._handler.open()
                self._is_open = True
        try:
            yield self._handler
        finally:
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self.close()

    def close(self) -> None:
        """End the function's processes, after the last test or earlier; safe to call again."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if was_open:
            self._handler.close()


def _complete(outcome: Outcome) -> bytes | Failure:
    if isinstance(outcome, Stream):
        outcome = outcome.ended()
    return outcome if isinstance(outcome, Failure) else outcome.spool.getvalue()
