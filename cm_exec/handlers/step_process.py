"""A process without the envelope: one job at a time, kept in step by the StepState."""

import logging
from typing import TYPE_CHECKING, Final

from cm_exec.config import Function, Service
from cm_exec.handlers import HandlerContext, StderrSink
from cm_exec.handlers.framing import DesyncError, MessageReader, frame_message, message_reader, parse_message
from cm_exec.handlers.outcome import (
    StderrLogger,
    StderrTail,
    early_exit,
    excerpt,
    failure_of_abort,
    failure_of_status,
    finish_output,
    out_of_step,
)
from cm_exec.handlers.service_process import IN_BUFFER, NOT_READ, WAITS, Attempt, RunningJob, ServiceProcess
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.step_state import Step, StepState
from cm_exec.processes.child import Child
from cm_exec.protocol import Job
from cm_exec.protocol.failure import OUTPUT_EXCERPT, Failure, Reason
from cm_exec.protocol.json_text import json_problem

if TYPE_CHECKING:
    import asyncio

    from cm_exec.handlers.pool import Pool

log: Final = logging.getLogger("cm_exec.handler")

MOMENT: Final = 0.03
"""Seconds of silence after which a message is the result, if it cannot be seen whether the process waits."""

_IMMEDIATE_LOOKS: Final = 3
_FIRST_PAUSE: Final = 0.001
_MANY_LOOKS: Final = 100
_LONG_PAUSE: Final = 0.1
"""Seconds between looks at a process that has been busy for long after a message: each look costs CPU time."""
_STRICT_LOOKS: Final = 5
"""Looks for a process in a read of its stdin, before poll and select count, too."""
_MOST_LOOKS_AT_READER: Final = 60
"""Looks within about a second, after which a process is one whose waiting cannot be seen."""
_LOOK_PAUSE: Final = 0.02


class StepProcess(ServiceProcess):
    """One process of a service without the envelope."""

    def __init__(self, service: Service, context: HandlerContext, child: Child, pool: "Pool[ServiceProcess]") -> None:
        super().__init__(service, context, child, pool, StderrLogger(pool.tags))
        self._state = StepState(message_reader(service.protocol))
        self._job: RunningJob | None = None
        self._last_job = ""
        self._job_stderr = StderrTail()
        self._deadline: asyncio.TimerHandle | None = None
        self._sign = message_reader(service.protocol) if service.ready == "message" else None
        self._sign_text = self._sign_content = b""

    @property
    def has_room(self) -> bool:
        """Whether the process can take a job.

        It may get one before it reads its stdin, and reads it when it does; but none before it has to say that it is
        ready.
        """
        return self._job is None and self.status is None and self.has_output and self._sign is None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a job."""
        return self.has_room and self.is_ready

    async def run(self, function: Function, job: Job, spool: Spool, stderr: StderrSink) -> Attempt:
        """Run one job: send the framed query, then read until the result is complete."""
        self.read_stderr()  # what is in the pipe belongs to the job before
        self._stderr.flush()
        self._stderr = stderr
        self._last_job = f"job {job.job_id} of {function.name!r}"
        self._job_stderr = StderrTail()
        current = self._job = RunningJob(function, job, spool, stderr)
        self._context.running[job.job_id] = self._abort
        try:
            self._send_query(frame_message(self._service.protocol, job.query))
            failure = await current.done
        finally:
            self._context.running.pop(job.job_id, None)
            self._job = None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        may_repeat = failure is not None and failure.reason is not Reason.SHUTDOWN
        attempt = Attempt(failure, is_repeatable=may_repeat and not self._state.was_given)
        self._release(failure)
        return attempt

    def _send_query(self, frame: bytes) -> None:
        if not self._state.is_waiting and self.output_waits():
            self._out_of_step("output before it received a query", self.read_waiting())
            return
        data = self._state.begin(frame, is_waiting=self._state.is_waiting or self.probe.is_waiting())
        if self._state.step is Step.OFFERED:
            self.send(data, when_read=self._query_read)
            if self._start.is_ready:
                self._start_timeout()
        else:
            self.send(data)
            self._start.succeeded()
            self._start_timeout()

    def _query_read(self, look: int = 0) -> None:
        """Send the withheld rest: the process has read the first part, and was seen to wait for the rest.

        A process that was seen to wait is known not to wait later, when it prints a debug line and computes on. Without
        that the line would be taken for the result.
        """
        if self._job is None or not self.query_was_read():  # it has closed its stdin, or ended
            return
        if self.probe.is_usable and not self.probe.has_waited and look < _MOST_LOOKS_AT_READER:
            sees_polls = look >= _STRICT_LOOKS
            if not (self.probe.find_waiting() or (sees_polls and self.probe.find_reader(with_polls=True))):
                self._loop.call_later(_LOOK_PAUSE if sees_polls else _FIRST_PAUSE, self._query_read, look + 1)
                return
        rest = self._state.ready()
        if rest:
            self._start.succeeded()
            self.send(rest)
            self._start_timeout()

    def _start_timeout(self) -> None:
        if self._job is not None and self._job.function.timeout and self._deadline is None:
            self._deadline = self._loop.call_later(self._job.function.timeout, self._too_late)

    def _too_late(self) -> None:
        self._abort(Reason.TIMEOUT, self._progress())

    def _release(self, failure: Failure | None) -> None:
        """Keep the process for its next job, or end it: one that failed its job gets no other."""
        if failure is None or self._state.was_given:
            self.jobs += 1
            self.idle_since = self._loop.time()
        if failure is None and not self._is_used_up and self.status is None:
            self._pool.has_room(self)
        else:
            self._discard(failure)

    # Events of the pipes and the exit

    def received(self, chunk: bytes) -> None:
        """Take output: a part of the result, or something that nobody asked for."""
        if self._sign is not None:
            self._take_sign(self._sign, chunk)
            return
        content = self._state.received(chunk)
        job = self._job
        if job is None:
            self._unasked(chunk)
            return
        if content and (problem := job.output.write(content)) is not None:
            self._abort(*problem)
        elif self._state.step is Step.OUT_OF_STEP:
            self._out_of_step(self._state.problem, chunk)
        elif self._state.step is Step.COMPLETE:
            self._confirm()

    def received_stderr(self, chunk: bytes) -> None:
        """Take output of stderr, for the job that runs or the one before."""
        if self._job is not None:
            self._job_stderr.write(chunk)
        self._stderr.write(chunk)

    def exited(self, status: int) -> None:
        """Finish the job with what has come."""
        job = self._job
        self._start.cancel()
        if job is None:
            self._log_exit(status, had_one_job=self.jobs == 1)
            self._discard(self._exit_failure(status))
            return
        if not status:
            self._state.ended()
        if self._state.step is Step.ACCEPTED:
            self._log_exit(status, had_one_job=not self.jobs)
            job.finish(finish_output(job.function, job.output.spool, self._job_stderr.getvalue()))
        elif self._state.step is Step.OUT_OF_STEP:
            self._out_of_step(self._state.problem)
        else:
            if not self.query_was_read():  # it ended before: another process can have the job
                self._state.was_given = False
            if not self._state.was_given:
                self._log_exit(status, had_one_job=not self.jobs)
            job.finish(self._exit_failure(status))

    # Decisions

    def _take_sign(self, reader: MessageReader, chunk: bytes) -> None:
        """Take output before the process is ready, which can only be `{"ready": true}`."""
        self._sign_text += chunk
        try:
            content = reader.feed(chunk)
            self._sign_content += content
            if not reader.is_complete and len(self._sign_text) <= OUTPUT_EXCERPT:
                return
            is_ready = not reader.rest and parse_message(self._sign_content).kind == "ready"
        except DesyncError:
            is_ready = False
        if is_ready:
            self._sign = None
            self._start.succeeded()
            return
        self._warn('wrote something other than {"ready": true}')
        self._discard(self._unexpected(self._sign_text))

    def _confirm(self) -> None:
        """Check a complete message, and accept it when the process waits for its next query."""
        job = self._job
        assert job is not None  # noqa: S101 - for the type checker
        if self._checks_lines(job):
            problem = json_problem(job.output.spool.getvalue())
            if problem is not None:
                self._state.reject("a line that is not JSON")
                self._out_of_step(f"a line that is not JSON ({problem})")
                return
        if self.probe.is_waiting() and not self.output_waits():  # it has read everything
            self._accept(job, is_waiting=True)
        elif not self.query_was_read():
            self._out_of_step("a result before it had read its query")
        else:
            self._confirm_again(job, 0, self._loop.time() + MOMENT)

    def _accept(self, job: RunningJob, *, is_waiting: bool) -> None:
        self._state.accept(is_waiting=is_waiting)
        is_checked = self._checks_lines(job)
        job.finish(None if is_checked else finish_output(job.function, job.output.spool, self._job_stderr.getvalue()))

    def _checks_lines(self, job: RunningJob) -> bool:
        """Return whether a line that is not JSON is no result: another `output` accepts it."""
        return self._service.protocol == "lines" and job.function.output == "json"

    def _confirm_again(self, job: RunningJob, look: int, give_up: float) -> None:
        if self._job is not job or job.done.done() or self._state.step is not Step.COMPLETE:
            return
        waits = self.probe.is_waiting() or (look >= _IMMEDIATE_LOOKS and self.probe.find_waiting())
        if self.output_waits():
            return  # its event will come
        if (
            not waits
            and self._loop.time() >= give_up
            and self.probe.has_waited
            and not self.probe.find_reader(with_polls=True)
        ):
            give_up = self._loop.time() + MOMENT  # it is busy, and may write more: it was seen to wait before
        if waits or self._loop.time() >= give_up:
            self._accept(job, is_waiting=waits)
        elif look < _IMMEDIATE_LOOKS:
            self._loop.call_soon(self._confirm_again, job, look + 1, give_up)
        else:
            longest = MOMENT / 2 if look < _MANY_LOOKS else _LONG_PAUSE
            pause = min(_FIRST_PAUSE * 2 ** min(look - _IMMEDIATE_LOOKS, 10), longest)
            self._loop.call_later(pause, self._confirm_again, job, look + 1, give_up)

    def has_job(self, job_id: str) -> bool:
        """Return whether the process has this job."""
        return self._job is not None and self._job.job_id == job_id

    def obstacle(self) -> str:
        """Say what keeps the result back; nothing if the process may be at work on it."""
        if self._state.step is Step.COMPLETE:
            return ""
        if self._state.progress:
            return f"it wrote {self._state.progress}"
        if not self._state.was_given or not self.query_was_read():
            return NOT_READ
        return IN_BUFFER if self.probe.find_idle_reader() else ""

    def _progress(self) -> str:
        """Say how far the process had come at its timeout."""
        is_waiting = self.probe.is_usable and self.probe.find_waiting()
        return self.obstacle() or (WAITS if is_waiting else "it wrote nothing")

    def _still_closed(self) -> None:
        if self._job is not None:
            self._out_of_step("no result, and closed its result channel")
        else:
            self._warn("closed its result channel")
            self._discard()

    def _start_failed(self, failure: Failure) -> None:
        if self._job is not None:
            self._job.finish(failure)
        else:
            super()._start_failed(failure)

    def _abort(self, reason: Reason, detail: str) -> None:
        job = self._job
        if job is not None:
            stderr = self._job_stderr.getvalue()
            job.finish(failure_of_abort(job.function, reason, detail, job.output.spool, stderr))

    def _unasked(self, chunk: bytes) -> None:
        if self._last_job:
            log.error(
                "%s was probably answered wrongly: the process wrote %d more bytes after its result; it is replaced",
                self._last_job,
                len(chunk),
                extra={"tags": self._pool.tags},
            )
        else:
            self._warn(f"wrote {len(chunk)} bytes before it had a query")
        problem = "output before it received a query"
        self._discard(out_of_step(self._service.name, problem, stderr=self._stderr_end(), output=chunk))

    def _out_of_step(self, problem: str, more: bytes = b"") -> None:
        job = self._job
        if job is not None:
            name = job.function.name
            output = b"\n".join(filter(None, (excerpt(job.output.spool), self._state.excerpt))) or more
            job.finish(out_of_step(name, problem, stderr=self._job_stderr.getvalue(), output=output))

    def _exit_failure(self, status: int) -> Failure:
        job = self._job
        if job is None or not self.is_ready:
            return early_exit(self._subject, status, self._stderr_end())
        return failure_of_status(job.function, status, self._job_stderr.getvalue(), job.output.spool)
