"""Jobs of one function, given to the local runtime and taken back as they end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from cm_exec.cli.bench.failure import failure_text
from cm_exec.local_runtime import LocalRuntime, RuntimeJob
from cm_exec.local_runtime.results import ResultSpool

_GLANCE: Final = 0.1
"""Seconds after which a wait looks around."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over: the seconds from its hand-out to its answer, and what went wrong."""

    seconds: float
    failure: str | None


class Jobs:
    """Calls of one function with one query. `attend` is called while one waits; what it raises ends the wait."""

    def __init__(self, runtime: LocalRuntime, function: str, query: bytes, attend: Callable[[], None]) -> None:
        self._runtime = runtime
        self._function = function
        self._query = query
        self._attend = attend
        self._ended: SimpleQueue[Ended] = SimpleQueue()
        self.out = 0
        """How many have not ended."""

    def submit(self) -> None:
        """Queue one more."""
        self.out += 1
        self._runtime.submit(self._function, self._query).on_end(self._note)

    def next(self, deadline: float) -> Ended | None:
        """The next that ends; None when none does before `deadline`, which is on the monotonic clock."""
        self._attend()
        while (left := deadline - time.monotonic()) > 0:
            try:
                ended = self._ended.get(timeout=min(left, _GLANCE))
            except Empty:
                self._attend()
            else:
                self.out -= 1
                return ended
        return None

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._attend()
            time.sleep(min(left, _GLANCE))

    def _note(self, job: RuntimeJob, body: ResultSpool | None) -> None:
        """Called by the runtime's thread."""
        failure = None
        if job.answer is None:
            failure = job.reason or f"the job is {job.state}"
        elif job.answer.failure is not None:
            failure = failure_text(job.answer.failure.message, body.content() if body else b"")
        begun, ended = job.started or job.created, job.ended or job.created
        self._ended.put(Ended(ended - begun, failure))
