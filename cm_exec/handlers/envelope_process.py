"""A process with the envelope: several jobs at a time, answered in any order."""

from typing import TYPE_CHECKING, Final

import msgspec

from cm_exec.config import Function, Service
from cm_exec.handlers import HandlerContext, StderrSink
from cm_exec.handlers.framing import Message, frame_message, message_reader, wrap_query
from cm_exec.handlers.outcome import (
    CallerSecrets,
    StderrLogger,
    StderrTail,
    early_exit,
    excerpt,
    failure_of_abort,
    failure_of_status,
    out_of_step,
)
from cm_exec.handlers.service_process import IN_BUFFER, NOT_READ, Attempt, RunningJob, ServiceProcess
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.step_state import EnvelopeState
from cm_exec.processes.child import Child
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason

if TYPE_CHECKING:
    import asyncio

    from cm_exec.handlers.pool import Pool

CANCEL_GRACE: Final = 10.0
"""Seconds that a process has for the answer to a cancelled job, before it is replaced.

If it has sent messages for other jobs meanwhile, it is replaced when these are over.
"""

_MESSAGE_ROOM: Final = 1024 * 1024  # the envelope around a result, and escapes in it


class EnvelopeProcess(ServiceProcess):
    """One process of a service with the envelope."""

    def __init__(self, service: Service, context: HandlerContext, child: Child, pool: "Pool[ServiceProcess]") -> None:
        self._secrets = CallerSecrets(4 * service.jobs_per_process + 16)
        super().__init__(service, context, child, pool, StderrLogger(pool.tags, self._secrets.redact))
        self._running: dict[str, RunningJob] = {}
        self._state = EnvelopeState(message_reader(service.protocol), _MESSAGE_ROOM)
        self._cancel_timers: dict[str, asyncio.TimerHandle] = {}
        self._last_message = 0.0

    @property
    def has_room(self) -> bool:
        """Whether the process can take a job. One that still works on a cancelled job gets none."""
        is_free = len(self._running) < self._service.jobs_per_process and not self._state.cancelled
        return is_free and self.is_ready and self.status is None and not self._is_used_up

    @property
    def is_idle(self) -> bool:
        """Whether the process is ready and has no job."""
        return self.is_ready and not self._running

    def has_job(self, job_id: str) -> bool:
        """Return whether the process has this job."""
        return job_id in self._running

    def obstacle(self) -> str:
        """Say what keeps a result back; nothing if the process may be at work on it."""
        if self._state.progress:
            return f"it wrote {self._state.progress}"
        if not self.query_was_read():
            return NOT_READ
        return IN_BUFFER if self.probe.find_idle_reader(alone=True) else ""

    def detach(self) -> None:
        """Stop watching the process."""
        super().detach()
        for timer in self._cancel_timers.values():
            timer.cancel()

    async def run(self, function: Function, job: Job, spool: Spool, stderr: StderrSink) -> Attempt:
        """Run one job beside others: send it, then wait for the messages with its id."""
        if not self._running:
            self.read_stderr()  # what is in the pipe belongs to the job before
            self._stderr.flush()
            self.stderr_tail = StderrTail()
        entry = RunningJob(function, job, spool, stderr)
        self._secrets.remember(job)
        self._running[job.job_id] = entry
        self.jobs += 1
        self._state.max_message = max(self._state.max_message, 6 * function.max_output + _MESSAGE_ROOM)
        self._state.begin(job.job_id)
        self._context.running[job.job_id] = lambda reason, detail: self._cancel(entry, reason, detail)
        timeout = function.timeout
        timer = self._loop.call_later(timeout, self._cancel, entry, Reason.TIMEOUT, "") if timeout else None
        try:
            message = wrap_query(job, credentials=self._service.credentials or function.credentials)
            self.send(frame_message(self._service.protocol, message))
            return Attempt(await entry.done, is_repeatable=False)
        finally:
            if timer is not None:
                timer.cancel()
            self._context.running.pop(job.job_id, None)
            self._running.pop(job.job_id, None)
            self._released()

    def _released(self) -> None:
        self.idle_since = self._loop.time()
        if self.status is not None:
            return
        if not self._running and (self._is_used_up or self._has_overdue_cancel):
            self._pool.discard(self)
        elif self.has_room:
            self._pool.has_room(self)

    # Events of the pipes and the exit

    def received(self, chunk: bytes) -> None:
        """Take output: messages for the jobs of the process."""
        had_room = self.has_room
        for message in self._state.received(chunk):
            self._last_message = self._loop.time()
            self._take(message)
        if self._state.problem:
            self._out_of_step()
        elif not had_room and self.has_room:  # the late answer of a cancelled job
            self._pool.has_room(self)

    def received_stderr(self, chunk: bytes) -> None:
        """Take output of stderr: it belongs to the only job, or to none in particular."""
        if len(self._running) == 1:
            next(iter(self._running.values())).stderr.write(chunk)
        else:
            self._stderr.write(chunk)

    def _still_closed(self) -> None:
        self._state.problem = self._state.problem or "no more answers, and closed its result channel"
        self._out_of_step()

    def exited(self, status: int) -> None:
        """Fail the jobs that have no answer."""
        self._start.cancel()
        if not self._running:
            self._log_exit(status, had_one_job=self.jobs == 1)
        if not status:
            self._state.ended()
        for entry in list(self._running.values()):
            entry.finish(self._exit_failure(entry.function, status))
        self._discard(early_exit(self._subject, status, self._stderr_end()))

    # Decisions

    def _take(self, message: Message) -> None:
        if message.kind == "ready":
            self._start.succeeded()
            return
        entry = self._running[message.job_id]
        if message.kind == "log":
            entry.stderr.write(message.content + b"\n")
            return
        problem = None
        if message.kind in {"result", "chunk"}:
            problem = entry.output.write(message.content)
        if problem is not None:
            self._cancel(entry, *problem)
        elif message.kind == "error":
            entry.finish(_handler_error(entry.function, message.content))
        elif message.kind != "chunk":
            entry.finish(None)

    def _cancel(self, entry: RunningJob, reason: Reason, detail: str = "") -> None:
        """Answer a job at once, and notify the process that nobody waits for it."""
        job_id = entry.job_id
        if entry.done.done() or job_id not in self._running:
            return
        entry.finish(self._failure(entry, reason, detail))
        self._running.pop(job_id)
        self._state.cancel(job_id)
        self.send(frame_message(self._service.protocol, msgspec.json.encode({"jobId": job_id, "cancel": True})))
        self._cancel_timers[job_id] = self._loop.call_later(CANCEL_GRACE, self._cancel_is_late, job_id)

    def _cancel_is_late(self, job_id: str) -> None:
        self._cancel_timers.pop(job_id, None)
        if job_id not in self._state.cancelled:
            return
        if self._running and self._last_message > self._loop.time() - CANCEL_GRACE:
            self._warn("goes on with a cancelled job; it is replaced when its other jobs are over")
            return
        self._warn("goes on with a cancelled job; it is replaced")
        why = "was cancelled because another job did not end, and its process is replaced"
        for entry in list(self._running.values()):
            message = f"the job of {entry.function.name!r} {why}"
            output = excerpt(entry.output.spool)
            failure = Failure(reason=Reason.TIMEOUT, message=message, stderr=self._stderr_end(), output=output)
            entry.finish(failure)
        self._discard()

    @property
    def _has_overdue_cancel(self) -> bool:
        return not self._state.cancelled <= self._cancel_timers.keys()

    def _out_of_step(self) -> None:
        if not self._running:
            self._warn(f"wrote {self._state.problem}; it is replaced")
        for entry in list(self._running.values()):
            entry.finish(self._desync_failure(entry.function))
        self._discard(self._unexpected(self._state.excerpt))

    def _desync_failure(self, function: Function) -> Failure:
        state = self._state
        return out_of_step(function.name, state.problem, stderr=self._stderr_end(), output=state.excerpt)

    def _failure(self, entry: RunningJob, reason: Reason, detail: str) -> Failure:
        if reason is Reason.TIMEOUT and not detail:
            detail = self.obstacle() or "it wrote no answer"
        spool = entry.output.spool
        return failure_of_abort(entry.function, reason, detail, spool, self._stderr_end(), process_goes_on=True)

    def _exit_failure(self, function: Function, status: int) -> Failure:
        if not status and self._state.problem:
            return self._desync_failure(function)
        return failure_of_status(function, status, self._stderr_end())

    def _stderr_end(self) -> bytes:
        """Return the end of stderr without the secrets of any caller: other jobs may have written to it."""
        return self._secrets.redact(self.stderr_tail.getvalue())


def _handler_error(function: Function, error: bytes) -> Failure:
    """Return the failure that the handler itself reports: its text or JSON is the caller's `error`."""
    return Failure(
        reason=Reason.HANDLER, message=f"the handler of {function.name!r} reports an error", error=msgspec.Raw(error)
    )
