"""Jobs of one function, submitted to the local runtime and collected as they end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import msgspec

from cm_exec.local_runtime import LocalRuntime, RuntimeJob
from cm_exec.local_runtime.results import ResultSpool

_TICK: Final = 0.1
"""Seconds between two calls of `on_tick` while a wait lasts."""

_LONGEST_STDERR: Final = 200


class MeasurementError(Exception):
    """The function, or the worker, fails. The text says how."""


@dataclass(frozen=True, slots=True)
class CompletedJob:
    """A job that ended: the seconds from its hand-out to its answer, and how it failed if it did."""

    seconds: float
    failure: str | None


class BenchJobs:
    """Calls of one function with one query. `on_tick` is called during each wait; what it raises ends the wait."""

    def __init__(self, runtime: LocalRuntime, function: str, query: bytes, on_tick: Callable[[], None]) -> None:
        self._runtime = runtime
        self._function = function
        self._query = query
        self._on_tick = on_tick
        self._completed: SimpleQueue[CompletedJob] = SimpleQueue()
        self.outstanding = 0
        """The number of jobs that have not ended."""

    def submit(self) -> None:
        """Queue one more job."""
        self.outstanding += 1
        self._runtime.submit(self._function, self._query).on_end(self._complete)

    def next(self, deadline: float) -> CompletedJob | None:
        """Return the next job that ends; None if none ends before `deadline` on the monotonic clock."""
        self._on_tick()
        while (left := deadline - time.monotonic()) > 0:
            try:
                completed = self._completed.get(timeout=min(left, _TICK))
            except Empty:
                self._on_tick()
            else:
                self.outstanding -= 1
                return completed
        return None

    def idle(self, seconds: float) -> None:
        """Submit nothing for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._on_tick()
            time.sleep(min(left, _TICK))

    def _complete(self, job: RuntimeJob, body: ResultSpool | None) -> None:
        """Note a job's end; the runtime's thread calls this."""
        failure = None
        if job.answer is None:
            failure = job.reason or f"the job is {job.state}"
        elif job.answer.failure is not None:
            failure = failure_text(job.answer.failure.message, body.content() if body else b"")
        began, ended = job.started or job.created, job.ended or job.created
        self._completed.put(CompletedJob(ended - began, failure))


def failure_text(message: str, body: bytes) -> str:
    """Describe an error result by its message and the last line of the handler's stderr, if it has one."""
    try:
        members: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        members = None
    stderr = members.get("stderr") if isinstance(members, dict) else None
    lines = stderr.strip().splitlines() if isinstance(stderr, str) else []
    return f"{message}; its stderr ends: {lines[-1][-_LONGEST_STDERR:].strip()}" if lines else message
