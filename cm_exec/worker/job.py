"""One job from the queue to its posted result."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason, StreamAbortedError, error_body, short_name
from cm_exec.text import closest_match
from cm_exec.worker.queue import QueuedJob

log: Final = logging.getLogger("cm_exec.worker")

_IN_MEMORY: Final = 1024 * 1024
"""Bytes of a result that is posted as one piece of memory."""

_MANY_NOT_STARTED: Final = 20
_START_SUCCESS: Final = 5
"""Failed starts that one started job outweighs."""


class SpooledResult(Protocol):
    """Keeps a result; handlers.spool has the real one."""

    size: int

    def getvalue(self) -> bytes: ...
    def chunks(self) -> Iterator[bytes]: ...
    def live_chunks(self) -> AsyncIterator[bytes]: ...
    async def begins(self) -> bool: ...
    def finish(self, *, ok: bool) -> None: ...
    def close(self) -> None: ...


class Stderr(Protocol):
    """Takes a handler's stderr."""

    def write(self, chunk: bytes, /) -> None: ...
    def flush(self) -> None: ...


class Completed(Protocol):
    """The end of a job: why it failed, and what ends the processes that it left running."""

    @property
    def failure(self) -> Failure | None: ...
    @property
    def cleanup(self) -> Callable[[], Awaitable[None]] | None: ...


S = TypeVar("S", bound=SpooledResult)


class JobHandler(Protocol[S]):
    """Runs the jobs of one function; handlers describes it."""

    @property
    def streams(self) -> bool: ...
    def new_spool(self) -> S: ...
    async def run(self, job: Job, spool: S, stderr: Stderr) -> Completed: ...


class Posted(Protocol):
    """What became of a result, and the runtime's last response in words."""

    @property
    def is_accepted(self) -> bool: ...
    @property
    def is_rejected(self) -> bool: ...
    @property
    def why(self) -> str: ...


class LocalPost(Struct, frozen=True):
    """What becomes of a result without a runtime: it is taken."""

    is_accepted: bool = True
    is_rejected: bool = False
    why: str = ""


class ResultPoster(Protocol):
    """Posts results to the runtime; runtime.client describes it."""

    async def deliver(self, job_id: str, body: bytes | SpooledResult, /) -> Posted: ...
    async def stream(self, job_id: str, chunks: AsyncIterator[bytes], /) -> Posted | None: ...


class Answer(Struct, frozen=True):
    """How a job was answered: its failure, the size of what was posted in bytes, and what became of it."""

    failure: Failure | None
    size: int
    posted: Posted


class JobRunner(Generic[S]):
    """Answers jobs, each exactly once, whatever its command does.

    `open_stderr` returns what takes the stderr of a job; `abort` ends a running job; `is_stopping` says that no
    further command may be started.
    """

    def __init__(
        self,
        handlers: Mapping[str, JobHandler[S]],
        poster: ResultPoster,
        *,
        open_stderr: Callable[[Job, Mapping[str, str]], Stderr],
        abort: Callable[[str, Reason, str], None],
        is_stopping: Callable[[], bool],
        log_answers: bool = True,
    ) -> None:
        self._handlers = handlers
        self._poster = poster
        self._open_stderr = open_stderr
        self._abort = abort
        self._is_stopping = is_stopping
        self._log_answer = _log_answer if log_answers else _log_nothing
        self._not_started = 0

    async def answer(self, item: QueuedJob) -> Answer:
        """Run the job and post its result or its error; return how it went. See each step in `_run`."""
        started = time.monotonic()
        tags = {"function": short_name(item.query_type), "job_id": short_name(item.job_id or "")}
        failure = self._refusal(item)
        if failure is None and isinstance(item, Job):
            try:
                return await self._run(item, tags, started)
            except Exception:
                log.exception("a bug in cm-exec", extra={"tags": tags})
        answer = await self._post_failure(item, failure or _BUG)
        self._log_answer(tags, answer, time.monotonic() - started)
        return answer

    async def _run(self, job: Job, tags: Mapping[str, str], started: float) -> Answer:
        """Run the job's handler and post the outcome; then end what the job left running."""
        handler = self._handlers[job.query_type]
        spool = handler.new_spool()
        stderr = self._open_stderr(job, tags)
        try:
            posted: Posted | None = None
            running = handler.run(job, spool, stderr)
            if handler.streams:
                task = asyncio.get_running_loop().create_task(_until_complete(running, spool))
                posted = await self._stream(job.job_id, spool, task)
                completed = await task
            else:
                completed = await running
            stderr.flush()
            failure = completed.failure
            self._watch_starts(failure)
            if failure is not None and job.secrets:
                failure = _redacted(failure, job)
            seconds = time.monotonic() - started
            if posted is not None and posted.is_rejected:
                answer = await self._post_rejection(job, spool.size, posted)
            elif posted is not None:
                answer = Answer(failure, spool.size, posted)
            elif failure is not None:
                answer = await self._post_failure(job, failure)
            else:
                answer = await self._post_result(job, spool)
            self._log_answer(tags, answer, seconds)
            try:
                if completed.cleanup is not None:
                    await completed.cleanup()
                stderr.flush()
            except asyncio.CancelledError:
                log.debug("the worker ends before what the job left running", extra={"tags": tags})
            except Exception:  # the job is answered, and no error may follow a result
                log.exception("a bug in cm-exec after the answer", extra={"tags": tags})
            return answer
        finally:
            spool.close()

    def _watch_starts(self, failure: Failure | None) -> None:
        """Log an error, once, when nearly every job fails to start: the replica is of no use then."""
        if failure is None or failure.reason is not Reason.NOT_STARTED:
            self._not_started = max(0, self._not_started - _START_SUCCESS)
            return
        self._not_started += 1
        if self._not_started == _MANY_NOT_STARTED:
            log.error("nearly every job fails to start, the last one because %s", failure.message)

    async def _stream(self, job_id: str, spool: S, task: "asyncio.Task[Completed]") -> Posted | None:
        """Post the result as it comes; return None if it must be posted again as a whole, or as an error."""
        if not await spool.begins():
            return None
        posted = None
        with suppress(StreamAbortedError):
            posted = await self._poster.stream(job_id, spool.live_chunks())
        if posted is not None and not task.done():
            self._abort(job_id, Reason.SHUTDOWN, "the runtime does not wait for its result")
        return posted

    async def _post_result(self, job: Job, spool: S) -> Answer:
        body = spool.getvalue() if spool.size <= _IN_MEMORY else spool
        posted = await self._poster.deliver(job.job_id, body)
        if not posted.is_rejected:
            return Answer(None, spool.size, posted)
        return await self._post_rejection(job, spool.size, posted)

    async def _post_rejection(self, job: Job, size: int, rejected: Posted) -> Answer:
        message = f"the runtime rejected the result of {size} bytes: {rejected.why}"
        return await self._post_failure(job, Failure(reason=Reason.RESULT_REJECTED, message=message))

    async def _post_failure(self, item: QueuedJob, failure: Failure) -> Answer:
        job_id = item.job_id or ""
        error = error_body(failure, job_id=job_id, query_type=item.query_type)
        return Answer(failure, len(error), await self._poster.deliver(job_id, error))

    def _refusal(self, item: QueuedJob) -> Failure | None:
        """Return why no command is started for this job."""
        if not isinstance(item, Job):
            return Failure(reason=Reason.MALFORMED_JOB, message=str(item))
        if item.query_type not in self._handlers:
            return _unknown_function(item.query_type, self._handlers)
        if self._is_stopping():
            message = "the job was not started because the worker shuts down"
            return Failure(reason=Reason.SHUTDOWN, message=message)
        return None


_BUG: Final = Failure(reason=Reason.NOT_STARTED, message="cm-exec failed at this job by a bug of its own")


async def _until_complete(running: Awaitable[Completed], spool: SpooledResult) -> Completed:
    """Run a job whose result is read meanwhile, and inform the reader how it ended."""
    ok = False
    try:
        completed = await running
        ok = completed.failure is None
    finally:
        spool.finish(ok=ok)
    return completed


def _redacted(failure: Failure, job: Job) -> Failure:
    """Return the failure without the caller's tokens."""
    error = failure.error if failure.error is None else msgspec.Raw(job.redact(bytes(failure.error)))
    return replace(failure, stderr=job.redact(failure.stderr), output=job.redact(failure.output), error=error)


def _unknown_function(name: str, known: Mapping[str, object]) -> Failure:
    near = closest_match(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; it has {', '.join(map(repr, known))}"
    return Failure(reason=Reason.UNKNOWN_FUNCTION, message=f"this module has no function {short_name(name)!r}{hint}")


def _log_nothing(tags: Mapping[str, str], answer: Answer, seconds: float) -> None:
    """Log nothing: the caller shows the answer itself."""


def _log_answer(tags: Mapping[str, str], answer: Answer, seconds: float) -> None:
    failure, posted = answer.failure, answer.posted
    what = "ok" if failure is None else f"failed: {failure.reason}: {failure.message}"
    if failure is not None and failure.output:
        what += f"; output: {failure.output[:256].decode(errors='backslashreplace')!r}"
    lost = "" if posted.is_accepted else f", not delivered: {posted.why}"
    level = logging.INFO if failure is None and not lost else logging.WARNING
    log.log(level, "%s, %.0f ms, %d bytes%s", what, seconds * 1000, answer.size, lost, extra={"tags": tags})
