"""Stand between callers and worker: jobs, results, functions, polls and logs, and who is notified of what.

All of it runs on the event loop's thread.
"""

import time
from asyncio import AbstractEventLoop, TimerHandle  # noqa: TC003 - one import, not a section
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cm_exec.local_runtime.call import Call, ResultCache, ResultSpool
from cm_exec.local_runtime.core import (
    Change,
    Evicted,
    JobLog,
    Limits,
    LogLine,
    PostedResult,
    PostOutcome,
    RuntimeJob,
    State,
    Submission,
    endpoints,
    shortened,
)
from cm_exec.local_runtime.core.functions import FunctionInfo, FunctionRegistry
from cm_exec.local_runtime.core.ledger import Ledger
from cm_exec.local_runtime.core.result import LARGEST as LARGEST_FAILURE
from cm_exec.local_runtime.core.result import SNIFF_LIMIT, reported_failure, sniff
from cm_exec.local_runtime.core.worker_status import (
    PollWatch,
    ProtocolViolation,
    ViolationKind,
    WorkerState,
    WorkerStatus,
)
from cm_exec.local_runtime.feed import Notice, Subscriber

RESULTS_KEPT: Final = 1024 * 1024 * 1024
"""Bytes of results that the history keeps, most of them on the disk."""

_LARGEST_CHECKED: Final = 4 * 1024 * 1024
"""A larger result, in bytes, is not compared with the declared type."""
_FUNCTIONS_COUNTED: Final = 1000
_DIAGNOSIS_PAUSE: Final = 5.0
_DIAGNOSES_KEPT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A restart notification. `at` in seconds since the epoch; `dropped` are the ids of the jobs it threw away."""

    at: float
    dropped: tuple[str, ...]


class Broker:
    """Serves the protocol application on one side and the callers on the other.

    `clock` returns seconds since the epoch that never go back. `on_slot_free` is called when a job may go out; `loop`
    is set before anything else is called.
    """

    def __init__(self, *, directory: Path, limits: Limits, poll_timeout: float = 10.0, sdk_errors: bool = True) -> None:
        offset = time.time() - time.monotonic()
        self.clock: Callable[[], float] = lambda: offset + time.monotonic()
        self.directory = directory
        self._sdk_errors = sdk_errors
        self.loop: AbstractEventLoop | None = None
        self.on_slot_free: Callable[[], None] = lambda: None
        self.functions = FunctionRegistry()
        self.ledger = Ledger(limits=limits, publish=self._changed, function_timeout=self.functions.timeout_of)
        self.worker = WorkerStatus(PollWatch(poll_timeout=poll_timeout))
        self.log = JobLog()
        self.subscribers: set[Subscriber] = set()
        self.restarts: deque[Restart] = deque(maxlen=1000)
        self.schema_posts: deque[bytes] = deque(maxlen=100)
        self._calls: dict[str, Call] = {}
        self._shelf = ResultCache(budget=RESULTS_KEPT)
        self._incoming: dict[str, ResultSpool] = {}
        self.ended_by_function: dict[str, Counter[State]] = {}
        self.violations_of: Counter[str] = Counter()
        """How many violations are about a job, by its id."""
        self._timer: TimerHandle | None = None
        self._diagnosed: dict[str, float] = {}
        self._closed = False

    # The callers' side

    def submit(self, call: Call, submission: Submission) -> None:
        """Queue a job."""
        self._calls[call.job_id] = call
        self.ledger.submit(call.job_id, submission, self.clock())
        if self._closed:
            self.close()
            return
        self._set_timer_for_next()
        self.on_slot_free()

    def expect(self, call: Call) -> None:
        """Take a result under this id, although this runtime handed out no such job."""
        self._calls[call.job_id] = call
        self.ledger.adopt(call.job_id, self.clock())

    def body(self, job_id: str) -> ResultSpool | None:
        """Return the result's bytes, None if there are none or they are not kept."""
        return self._shelf.get(job_id) or self._incoming.get(job_id)

    def cancel(self, job_id: str) -> None:
        """End the wait for a job, as its caller's timeout does."""
        self.ledger.give_up(job_id, self.clock(), "cancelled by its caller")
        self._set_timer_for_next()

    def drop(self, job_id: str) -> None:
        """Free the slot that a job holds."""
        self.ledger.drop_outstanding(self.clock(), "dropped by its caller", {job_id})
        self.on_slot_free()

    def close(self) -> None:
        """End all calls and streams: the runtime stops."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.ledger.close(self.clock())
        for job_id, call in tuple(self._calls.items()):
            call.end(self.ledger.jobs[job_id], None)
        self._calls.clear()
        self.publish(Notice.END)

    # Reports from the program that runs the worker

    def publish(self, change: Change | LogLine | Notice) -> None:
        """Send a change to all subscribers."""
        for subscriber in self.subscribers:
            subscriber.publish(change)

    def write_log(self, job_id: str | None, line: str, stream: str) -> None:
        """Keep a line that a handler or the worker wrote."""
        if job_id is not None and job_id not in self.ledger.jobs:
            job_id = None
        entry = LogLine(job_id=job_id, at=self.clock(), line=shortened(line), stream=stream)
        self.log.add(entry)
        self.publish(entry)

    def hold(self) -> None:
        """Hand out no job for now; meanwhile missing polls are no violation."""
        self.worker.polls.excuse()

    def release(self) -> None:
        """Jobs are handed out again."""
        self.worker.polls.expect(self.clock())
        self._set_timer_for_next()

    def worker_gone(self, reason: str, only: Collection[str] | None = None) -> list[str]:
        """Note that the worker's process has ended: its outstanding jobs are lost, missing polls are no violation.

        With `only` another worker goes on, and no more than these jobs were held by the one that is gone.
        """
        if only is None:
            self.worker.polls.forget()
        now = self.clock()
        held = [job_id for job_id in self.ledger.outstanding if only is None or job_id in only]
        for job_id in held:
            self.ledger.report(ViolationKind.UNANSWERED, f"not answered: {reason}", now, job=self.ledger.jobs[job_id])
        dropped = self.ledger.drop_outstanding(now, reason, only)
        self.publish(Notice.STATE)
        self.on_slot_free()
        return dropped

    def declare_functions(self, functions: Mapping[str, FunctionInfo]) -> None:
        """Replace what is known of the functions of the worker's own configuration."""
        self.functions.declare(functions)
        self.publish(Notice.FUNCTIONS)

    def report(self, change: Callable[[WorkerStatus, float], None]) -> None:
        """Change what is known of the worker."""
        change(self.worker, self.clock())
        self.publish(Notice.STATE)

    def worker_state(self) -> WorkerState:
        """Return what the worker seems to do."""
        return self.worker.polls.state(self.clock(), len(self.ledger.outstanding))

    # The worker's side

    def hand_out(self) -> RuntimeJob | None:
        """Return the next job, None if none may be handed out."""
        return self.ledger.hand_out(self.clock())

    def poll_began(self) -> None:
        """Note the begin of a poll."""
        self.worker.polls.began(self.clock())
        self.publish(Notice.STATE)

    def poll_ended(self) -> None:
        """Note the end of a poll."""
        self.worker.polls.ended(self.clock())
        if self._timer is None:
            self._set_timer_for_next()

    def result_began(self, job_id: str, *, streamed: bool) -> ResultSpool:
        """Note that a result begins, and return the spool for its bytes."""
        body = ResultSpool(self.directory)
        self.ledger.answer_began(job_id, self.clock())
        job = self.ledger.jobs.get(job_id)
        if streamed and job is not None and not job.state.final:
            self._incoming[job_id] = body
            call = self._calls.get(job_id)
            if call is not None:
                call.begin(body)
        return body

    def result_ended(self, job_id: str, body: ResultSpool, *, content_type: str | None, streamed: bool) -> PostOutcome:
        """Take a result that was received completely."""
        body.finish()
        self._incoming.pop(job_id, None)
        job = self.ledger.jobs.get(job_id)
        if job is not None and job.answer is None and job.state is not State.LOST:
            self._shelf.put(job_id, body)
        answer = self._answer(job, job_id, body, content_type=content_type, streamed=streamed)
        outcome = self.ledger.answer(job_id, answer, self.clock())
        self.on_slot_free()
        return outcome

    def _answer(
        self, job: RuntimeJob | None, job_id: str, body: ResultSpool, *, content_type: str | None, streamed: bool
    ) -> PostedResult:
        beginning = body.read(0, SNIFF_LIMIT)
        failure = None
        if body.size <= LARGEST_FAILURE:
            failure = reported_failure(beginning, job_id, of_sdks=self._sdk_errors)
        mismatch = None
        if job is not None and failure is None and body.size <= _LARGEST_CHECKED:
            whole = beginning if len(beginning) == body.size else body.content()
            mismatch = self.functions.mismatch(job.function, whole, streamed=streamed)
        return PostedResult(
            size=body.size,
            content_type=content_type,
            streamed=streamed,
            media=sniff(beginning, body.size),
            failure=failure,
            mismatch=mismatch,
        )

    def result_cut(self, job_id: str, body: ResultSpool) -> None:
        """Note that the upload of a result was aborted."""
        body.cut_short()
        self.ledger.answer_broke(job_id, body.size)
        self._incoming.pop(job_id, None)
        self.write_log(job_id, f"the posted result broke off after {body.size} bytes", "runtime")

    def too_large(self, job_id: str, size: int) -> None:
        """Note that a result exceeded the limit."""
        self._incoming.pop(job_id, None)
        self.ledger.answer_refused(job_id)
        message = f"a result of {size} bytes or more is over the limit"
        job = self.ledger.jobs.get(job_id)
        self.ledger.report(ViolationKind.TOO_LARGE, message, self.clock(), job=job, job_id=job_id)

    def schemas_posted(self, body: bytes, content_type: str | None) -> None:
        """Take the schemas of the worker's functions."""
        self.schema_posts.append(body)
        wrong = self.functions.post(body)
        if (content_type or "").partition(";")[0].strip() != "application/json":
            wrong.append(f"the schemas came as {content_type or 'no content type'}; it must be application/json")
        for sentence in wrong:
            self.ledger.report(ViolationKind.INVALID_SCHEMA, sentence, self.clock())
        self.publish(Notice.FUNCTIONS)

    def restarted(self) -> list[str]:
        """Take a restart notification, and return the ids of the dropped jobs."""
        dropped = self.ledger.drop_outstanding(self.clock(), "dropped by the worker's restart notification")
        self.restarts.append(Restart(at=self.clock(), dropped=tuple(dropped)))
        self.publish(Notice.STATE)
        return dropped

    def diagnosed(self, kind: ViolationKind, sentence: str) -> None:
        """Report what a client does wrong before it gets a job. One that repeats it all the time is reported rarely."""
        now = self.clock()
        if sentence in endpoints.GUESSES and self.worker.polls.is_served(now, len(self.ledger.outstanding)):
            return  # some client has come through: it may open connections ahead, or be killed while it connects
        if now - self._diagnosed.get(sentence, float("-inf")) < _DIAGNOSIS_PAUSE:
            return
        if len(self._diagnosed) >= _DIAGNOSES_KEPT:
            self._diagnosed.clear()
        self._diagnosed[sentence] = now
        self.ledger.report(kind, sentence, now)

    # What follows from a change

    def _changed(self, change: Change) -> None:
        if isinstance(change, Evicted):
            self._shelf.drop(change.job_id)
            self.log.forget(change.job_id)
            self.violations_of.pop(change.job_id, None)
        elif isinstance(change, ProtocolViolation):
            self._count_violation(change)
        elif change.state.final:
            self._ended(change)
        self.publish(change)

    def _ended(self, job: RuntimeJob) -> None:
        call = self._calls.pop(job.job_id, None)
        if call is None:
            return  # it had ended before, and something more became known of it
        if len(self.ended_by_function) < _FUNCTIONS_COUNTED:
            self.ended_by_function.setdefault(job.function, Counter())
        if job.function in self.ended_by_function:
            self.ended_by_function[job.function][job.state] += 1
        if job.state is State.DONE and self.functions.answered(job.function):
            self.publish(Notice.FUNCTIONS)
        call.end(job, self._shelf.get(job.job_id))

    def _count_violation(self, violation: ProtocolViolation) -> None:
        job = self.ledger.jobs.get(violation.job_id or "")
        if job is not None:
            self.violations_of[job.job_id] += 1
            self.publish(job)

    def _set_timer_for_next(self) -> None:
        """Call `_on_timer` when something is due: by the ledger, or for polls that stopped."""
        deadlines = (self.ledger.next_deadline(), self.worker.polls.deadline())
        due = min((at for at in deadlines if at is not None), default=None)
        if due is None or self.loop is None or self._closed:
            return
        wait = max(0.0, due - self.clock())
        if self._timer is not None:
            if self._timer.when() <= self.loop.time() + wait:
                return
            self._timer.cancel()
        self._timer = self.loop.call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self.clock()
        self.ledger.tick(now, why_idle=self.worker.why_idle(now))
        if self.worker.polls.overdue(now):
            held = len(self.ledger.outstanding)
            at_work = f", while it has {held} jobs: it may be held unresponsive" if held else ""
            message = f"no poll for {self.worker.polls.poll_timeout:g} s{at_work}"
            self.ledger.report(ViolationKind.POLLS_STOPPED, message, now)
        self._set_timer_for_next()
