"""Run one job in one process that ends with it: send the query, read the output, wait for the exit."""

import asyncio
import logging
import os
from typing import Final

from cm_exec.config import Function
from cm_exec.handlers import Completion, HandlerContext, StderrSink
from cm_exec.handlers.job_state import Action, JobState, Phase
from cm_exec.handlers.outcome import StderrTail, failure_of_exit, finish_output
from cm_exec.handlers.spool import LimitedOutput, Spool
from cm_exec.processes.child import LARGE_PIPE, Child, resize_pipe
from cm_exec.processes.termination import OrphanTerminator
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Reason
from cm_exec.protocol.json_text import json_problem

log: Final = logging.getLogger("cm_exec.handler")

_READ_SIZE: Final = 64 * 1024  # what a pipe holds; a larger buffer is mapped again each time
_MOST_READS: Final = 32
"""Reads of one pipe before the other pipes get their turn: a writer may be as fast as the launcher."""


async def run_single_use(  # noqa: PLR0917 - as in Handler.run
    function: Function, context: HandlerContext, child: Child, job: Job, spool: Spool, stderr: StderrSink
) -> Completion:
    """Run the job in `child`, which has its query, and end what it started."""
    process = SingleUseProcess(function, context, child, spool, stderr)
    context.running[job.job_id] = process.end
    try:
        await process.run()
    finally:
        context.running.pop(job.job_id, None)
        child.close()
    if process.was_cut and process.state.reason is None:
        log.warning(
            "a process that the command left running held its output open; it was read until it was silent, "
            "and what comes later is lost",
            extra={"tags": {"function": function.name, "job_id": job.job_id}},
        )
    terminator = OrphanTerminator(child.tree, context.graces)
    cleanup = terminator.finish if terminator.begin() else None
    stderr_end = process.stderr_tail.getvalue()
    failure = failure_of_exit(function, process.state, stderr_end, spool)
    return Completion(failure or finish_output(function, spool, stderr_end, 0), cleanup)


class SingleUseProcess:
    """Carries out what the JobState decides: the events of pipes, exit and deadline come from the loop."""

    def __init__(
        self, function: Function, context: HandlerContext, child: Child, spool: Spool, stderr: StderrSink
    ) -> None:
        self._function = function
        self._graces = context.graces
        self._child = child
        self._output = LimitedOutput(spool, function.max_output)
        self._stderr_sink = stderr
        self.stderr_tail = StderrTail()
        self.state = JobState()
        self._is_large = False
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._stop_reading_at = 0.0
        self._writing = False
        self._open = {child.result: self._take_result, child.stderr: self._take_stderr}
        self.was_cut = False

    async def run(self) -> None:
        """Return when the process has exited and its output was read."""
        child, loop = self._child, self._loop
        self._arm()
        child.exit_watch.start(loop, self._exit_ready)
        for fd in self._open:
            loop.add_reader(fd, self._read, fd)
        if child.unsent:
            resize_pipe(child.stdin, LARGE_PIPE)
            loop.add_writer(child.stdin, self._write_stdin)
            self._writing = True
        else:
            child.close_stdin()
        try:
            await self._over
        finally:
            self._stop_watching()

    def end(self, reason: Reason, detail: str = "") -> None:
        """End the job for this reason."""
        self._do(self.state.end(reason, detail))

    def _stop_watching(self) -> None:
        self._child.exit_watch.stop(self._loop)
        for fd in self._open:
            self._loop.remove_reader(fd)
        self._stop_writing()
        if self._timer is not None:
            self._timer.cancel()

    def _do(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Action.TERMINATE:
                    self._child.terminate()
                case Action.KILL:
                    self._child.kill()
                case Action.ARM:
                    self._arm()
                case Action.CUT:
                    self.was_cut = True
        if self.state.is_over and not self._over.done():
            self._over.set_result(None)

    def _arm(self) -> None:
        """Set the deadline of the state."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, graces = self._loop.time(), self._graces
        match self.state.phase:
            case Phase.RUNNING:
                seconds = self._function.timeout or 0.0
            case Phase.TERMINATING:
                seconds = graces.terminate
            case Phase.KILLING:
                seconds = graces.kill
            case _:
                is_result = self.state.reason is None  # of a job that was ended only the last words are of use
                self._stop_reading_at = self._stop_reading_at or now + (graces.held_pipe if is_result else graces.quiet)
                seconds = max(0.001, min(graces.quiet, self._stop_reading_at - now))
        if seconds:
            self._timer = self._loop.call_later(seconds, self._deadline)

    def _deadline(self) -> None:
        if self.state.phase is Phase.RUNNING:
            self._exit_ready()  # it may have exited in time, and the launcher may be late
            if self.state.phase is not Phase.RUNNING:
                return
            self.state.detail = self._progress()
        self._do(self.state.deadline())

    def _progress(self) -> str:
        """Say how far the process had come at its timeout."""
        spool = self._output.spool
        if not spool.size:
            return "it had written nothing"
        if json_problem(spool.getvalue()) is None:
            return "it had written a complete result, and did not exit"
        return f"it had written {spool.size} bytes, and did not exit"

    def _exit_ready(self) -> None:
        status = self._child.exit_status()
        if status is None:
            return
        self._child.exit_watch.stop(self._loop)
        self._stop_writing()
        self._do(self.state.exited(status))
        for fd in list(self._open):
            self._read(fd)

    def _write_stdin(self) -> None:
        if self._child.send_more():
            self._stop_writing()
            self._child.close_stdin()

    def _stop_writing(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._child.stdin)
            self._writing = False

    def _read(self, fd: int) -> None:
        """Read what the pipe has; after the exit up to the end, since that is near."""
        take = self._open[fd]
        for _ in range(_MOST_READS):
            try:
                chunk = os.read(fd, _READ_SIZE)
            except BlockingIOError:
                return
            if not chunk:
                del self._open[fd]
                self._loop.remove_reader(fd)
                self._do(self.state.pipe_closed())
                return
            take(chunk)
            self._do(self.state.output())
            if len(chunk) < _READ_SIZE and self.state.status is None:
                return

    def _take_result(self, chunk: bytes) -> None:
        if len(chunk) == _READ_SIZE and not self._is_large:
            self._is_large = True
            resize_pipe(self._child.result, LARGE_PIPE)
        if self.state.reason is None and (problem := self._output.write(chunk)) is not None:
            self.end(*problem)

    def _take_stderr(self, chunk: bytes) -> None:
        self.stderr_tail.write(chunk)
        self._stderr_sink.write(chunk)
