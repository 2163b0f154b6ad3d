"""Keep the books of the runtime: waiting, outstanding and ended jobs. Values in, values out; no I/O."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cm_exec.local_runtime.core import (
    Change,
    Evicted,
    Limits,
    PostedResult,
    PostOutcome,
    RuntimeJob,
    State,
    Submission,
)
from cm_exec.local_runtime.core.worker_status import ProtocolViolation, ViolationKind

RESULT_TYPE: Final = "application/octet-stream"
"""The content type of a result, whatever it is."""


_VIOLATIONS_KEPT: Final = 1000


@dataclass(slots=True)
class Ledger:
    """All jobs of a runtime.

    Every method that takes `now` wants seconds since the epoch that never go back. `publish` is called with each
    change, in order. `function_timeout` returns a function's own timeout in seconds, inf for no limit, None if unknown.
    """

    limits: Limits
    publish: Callable[[Change], None]
    function_timeout: Callable[[str], float | None] = lambda _: None
    violations: deque[ProtocolViolation] = field(default_factory=lambda: deque(maxlen=_VIOLATIONS_KEPT))
    violation_count: int = 0
    """How many breaches there were, those that are no longer kept included."""
    jobs: dict[str, RuntimeJob] = field(default_factory=dict)
    """All that are known, the oldest first."""
    latest_number: int = 0
    """The number of the latest job, 0 before the first."""
    _queue: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _outstanding: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _done: deque[str] = field(default_factory=deque)
    _failed: deque[str] = field(default_factory=deque)
    _ended_bytes: int = 0
    _answering: set[str] = field(default_factory=set)
    _cut: dict[str, int] = field(default_factory=dict)
    _unheard: set[str] = field(default_factory=set)
    _counts: Counter[State] = field(default_factory=Counter)
    _due: dict[str, float] = field(default_factory=dict)
    """When the caller of an open job waits no longer, or the late answer of another outstanding job is missed."""

    @property
    def counts(self) -> Mapping[State, int]:
        """How many jobs wait and run now, and how many ended in each way since the start."""
        return {**dict.fromkeys(State, 0), **self._counts}

    @property
    def outstanding(self) -> tuple[str, ...]:
        """The jobs that a worker has and owes a result, in the order they were handed out."""
        return tuple(self._outstanding)

    def submit(self, job_id: str, submission: Submission, now: float) -> None:
        """Put a new job at the end of the queue."""
        self.latest_number += 1
        self._counts[State.QUEUED] += 1
        self._queue[job_id] = None
        if submission.timeout is not None:
            self._due[job_id] = now + submission.timeout
        number = self.latest_number
        self._store(RuntimeJob(job_id=job_id, number=number, submission=submission, state=State.QUEUED, created=now))

    def can_hand_out(self) -> bool:
        """Return whether a poll would get a job now."""
        return bool(self._queue) and (self.limits.slots is None or len(self._outstanding) < self.limits.slots)

    def hand_out(self, now: float) -> RuntimeJob | None:
        """Return the next job, None if none waits or all slots are taken."""
        if not self.can_hand_out():
            return None
        return self._hand_out(next(iter(self._queue)), now)

    def adopt(self, job_id: str, now: float) -> None:
        """Note a job as handed out that was not queued here."""
        self.submit(job_id, Submission(function="", query=b""), now)
        self._hand_out(job_id, now)

    def _hand_out(self, job_id: str, now: float) -> RuntimeJob:
        del self._queue[job_id]
        self._outstanding[job_id] = None
        job = self.jobs[job_id]
        return self._move(job, State.RUNNING, started=now, outstanding=True, attempts=job.attempts + 1)

    def put_back(self, job_id: str) -> None:
        """Put a job back to the front of the queue, since the poll that got it was gone."""
        job = self.jobs.get(job_id)
        self._outstanding.pop(job_id, None)
        if job is None:
            return  # a restart dropped it meanwhile, and it is forgotten
        if job.state is State.RUNNING:
            self._queue[job_id] = None
            self._queue.move_to_end(job_id, last=False)
            self._move(job, State.QUEUED, started=None, outstanding=False)
        elif job.outstanding:
            self._store(replace(job, outstanding=False))
            self._forget_old()

    def answer_began(self, job_id: str, now: float) -> None:
        """Note that a result begins: the caller does not time out while it comes."""
        self._answering.add(job_id)
        job = self.jobs.get(job_id)
        if job is not None and not job.state.final and job.first_byte is None:
            self._store(replace(job, first_byte=now))

    def answer_broke(self, job_id: str, size: int) -> None:
        """Note that a result broke off after `size` bytes: only so can a streaming function report a failure."""
        self._answering.discard(job_id)
        if job_id in self.jobs:
            self._cut[job_id] = max(size, self._cut.get(job_id, 0))

    def answer_refused(self, job_id: str) -> None:
        """Note that a result was refused as too large: another one may come."""
        self._answering.discard(job_id)

    def reply_lost(self, job_id: str) -> None:
        """Note that the worker did not get the response to its result: it is right to post it again."""
        if job_id in self.jobs:
            self._unheard.add(job_id)

    def answer(self, job_id: str, answer: PostedResult, now: float) -> PostOutcome:
        """Take a result."""
        self._answering.discard(job_id)
        job = self.jobs.get(job_id)
        if job is None:
            self.report(ViolationKind.UNKNOWN_JOB, "a result for a job that was never handed out", now, job_id=job_id)
            return PostOutcome.UNKNOWN
        if job.state.final:
            return self._answer_to_final(job, answer, now)
        self._queue.pop(job_id, None)
        self._outstanding.pop(job_id, None)
        # also a waiting job: a worker that lost its connection after it had read a job in full may answer it
        state, reason = (State.FAILED, "an error result") if answer.failure else (State.DONE, None)
        job = self._move(job, state, ended=now, answer=answer, outstanding=False, reason=reason)
        self._report_content(job, answer, now)
        return PostOutcome.ACCEPTED

    def _report_content(self, job: RuntimeJob, answer: PostedResult, now: float) -> None:
        cut = self._cut.pop(job.job_id, 0)
        if answer.size < cut and answer.failure is None:
            message = f"the result was cut after {cut} bytes, and its repetition has {answer.size}: the rest is lost"
            self.report(ViolationKind.TRUNCATED, message, now, job=job)
        if answer.content_type != RESULT_TYPE:
            message = f"the result came as {answer.content_type or 'no content type'}; it must be {RESULT_TYPE}"
            self.report(ViolationKind.CONTENT_TYPE, message, now, job=job)
        if answer.mismatch is not None:
            self.report(ViolationKind.OUTPUT_TYPE, answer.mismatch, now, job=job)

    def _answer_to_final(self, job: RuntimeJob, answer: PostedResult, now: float) -> PostOutcome:
        if job.state is State.LOST:
            self.report(ViolationKind.LATE, "a result for a job that a restart had dropped", now, job=job)
            return PostOutcome.DROPPED
        if job.job_id in self._unheard:
            self._unheard.discard(job.job_id)
            return PostOutcome.REPEATED
        if job.answer is not None:
            self.report(ViolationKind.ANSWERED_TWICE, "a second result for a job that has one", now, job=job)
            return PostOutcome.REPEATED
        self._outstanding.pop(job.job_id, None)
        if now > self._allowed_until(job) + self.limits.answer_grace:
            late = now - (job.ended or now)
            self.report(ViolationKind.LATE, f"the result came {late:.1f} s after the caller gave up", now, job=job)
        self._store(replace(job, answer=answer, outstanding=False))
        self._forget_old()
        return PostOutcome.LATE

    def drop_outstanding(self, now: float, reason: str, only: Collection[str] | None = None) -> list[str]:
        """Throw away every job that the worker holds (of `only` these), as a restart notification does; their ids."""
        dropped = [job_id for job_id in self._outstanding if only is None or job_id in only]
        for job_id in dropped:
            del self._outstanding[job_id]
            job = self.jobs[job_id]
            if job.state is State.RUNNING:
                self._move(job, State.LOST, ended=now, outstanding=False, reason=reason)
            else:
                self._store(replace(job, outstanding=False))
        self._forget_old()
        return dropped

    def give_up(self, job_id: str, now: float, reason: str) -> None:
        """End the caller's wait. An outstanding job keeps its slot, as on the platform."""
        job = self.jobs.get(job_id)
        if job is None or job.state.final:
            return
        self._queue.pop(job_id, None)
        self._move(job, State.FAILED, ended=now, reason=reason)
        due = max(now, self._allowed_until(job)) + self.limits.answer_grace
        if job.outstanding and due < float("inf"):
            self._due[job_id] = due

    def _allowed_until(self, job: RuntimeJob) -> float:
        """Return until when a result is in time although the caller gave up: the function has a timeout of its own."""
        if job.started is None or (timeout := self.function_timeout(job.function)) is None:
            return float("-inf")
        return job.started + timeout

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do next."""
        return min(self._due.values(), default=None)

    def tick(self, now: float, *, why_idle: str | None = None) -> None:
        """Do what is due: callers give up, jobs that are still outstanding are reported.

        `why_idle` says why no worker takes jobs, None while one polls.
        """
        for job_id in sorted((job_id for job_id, at in self._due.items() if at <= now), key=self._due.__getitem__):
            del self._due[job_id]
            job = self.jobs[job_id]
            if not job.state.final:
                self._caller_timed_out(job, now, why_idle)
            else:
                self.report(ViolationKind.UNANSWERED, "taken, and not answered: it holds a slot", now, job=job)

    def _caller_timed_out(self, job: RuntimeJob, now: float, why_idle: str | None) -> None:
        timeout = job.submission.timeout or 0.0
        if job.job_id in self._answering:
            self._due[job.job_id] = now + timeout
            return
        self.give_up(job.job_id, now, f"no result within the caller's {timeout:g} s: {self._delay(job, now, why_idle)}")

    def _delay(self, job: RuntimeJob, now: float, why_idle: str | None) -> str:
        """Say what a job waits for."""
        if job.state is State.RUNNING:
            return f"the job has been running for {now - (job.started or now):.1f} s"
        if self._outstanding and self.limits.slots is not None and len(self._outstanding) >= self.limits.slots:
            oldest = self.jobs[next(iter(self._outstanding))]
            since = now - (oldest.started or now)
            slots = "the only slot is" if self.limits.slots == 1 else f"all {self.limits.slots} slots are"
            others = "" if self.limits.slots == 1 else ", the longest"
            return (
                f"{slots} held{others} by job {oldest.job_id} ({oldest.function}, #{oldest.number}) for {since:.1f} s"
            )
        return why_idle or "the worker polls, and has not taken the job yet"

    def close(self, now: float) -> None:
        """Report the outstanding jobs: the runtime stops, and they were never answered."""
        for job_id in self._outstanding:
            job = self.jobs[job_id]
            self.report(ViolationKind.UNANSWERED, "not answered when the runtime stopped", now, job=job)

    def report(
        self,
        kind: ViolationKind,
        message: str,
        now: float,
        *,
        job: RuntimeJob | None = None,
        job_id: str | None = None,
    ) -> ProtocolViolation:
        """Note a breach."""
        self.violation_count += 1
        violation = ProtocolViolation(
            number=self.violation_count,
            at=now,
            kind=kind,
            message=message,
            job_id=job.job_id if job else job_id,
            function=job.function if job else None,
        )
        self.violations.append(violation)
        self.publish(violation)
        return violation

    def _move(self, job: RuntimeJob, state: State, **changes: object) -> RuntimeJob:
        self._counts[job.state] -= 1
        self._counts[state] += 1
        moved = self._store(replace(job, state=state, **changes))  # type: ignore[arg-type]
        if state.final:
            (self._done if state is State.DONE else self._failed).append(job.job_id)
            self._ended_bytes += len(job.query)
            self._forget_old()
        return moved

    def _store(self, job: RuntimeJob) -> RuntimeJob:
        self.jobs[job.job_id] = job
        if job.state.final:
            self._due.pop(job.job_id, None)
        self.publish(job)
        return job

    def _forget_old(self) -> None:
        """Evict the oldest ended jobs. Failures are kept longer: they may be half of the history."""
        kept: list[str] = []
        while len(self._done) + len(self._failed) > 1 and self._is_over_history(len(kept)):
            prefers_failed = not self._done or len(self._failed) > self.limits.history // 2
            job_id = (self._failed if self._failed and prefers_failed else self._done).popleft()
            if job_id in self._outstanding:
                kept.append(job_id)
            else:
                self._ended_bytes -= len(self.jobs.pop(job_id).query)
                self._cut.pop(job_id, None)
                self._unheard.discard(job_id)
                self.publish(Evicted(job_id=job_id))
        self._failed.extendleft(reversed(kept))

    def _is_over_history(self, kept: int) -> bool:
        count = len(self._done) + len(self._failed)
        return count + kept > self.limits.history or self._ended_bytes > self.limits.history_bytes
