"""The worker: polls until it drains, and answers every job that it was handed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct

from cm_exec.protocol import MalformedJobError, parse_job, salvage_job_id
from cm_exec.worker.job import Answer, Posted
from cm_exec.worker.queue import JobQueue, QueuedJob, TruncatedJobs

log: Final = logging.getLogger("cm_exec.worker")

_LAST_POSTS: Final = 0.7
"""Seconds for the posts of errors after a second signal."""


class DrainTimes(Struct, frozen=True, kw_only=True):
    """Seconds from the start of a drain.

    `poll`: the open poll is awaited, since the runtime holds it for 5 and may still hand out a job. `jobs`: the running
    jobs may finish. `posts`: after that, their errors may be posted.
    """

    jobs: float
    poll: float = 5.5
    posts: float = 3.0


class PollResult(Protocol):
    """The outcome of one poll; runtime.client describes it."""

    @property
    def body(self) -> bytes | bytearray | memoryview | None: ...
    @property
    def partial(self) -> bytes: ...


class JobSource(Protocol):
    """Asks the runtime for jobs; runtime.client describes it."""

    @property
    def is_well(self) -> bool: ...
    async def poll(self) -> PollResult: ...
    def accept(self) -> None: ...
    def reject(self, why: str, /) -> None: ...
    def repeated(self) -> None: ...


class OpenHandler(Protocol):
    """A handler that must be opened before the first job and closed after the last."""

    async def open(self) -> None: ...
    async def wait_until_ready(self) -> None: ...
    async def close(self) -> None: ...


class Worker:
    """Polls until it is asked to drain, and answers every job.

    `register` announces the worker before the first poll; `answer` runs a job and posts its result; `end_jobs` ends the
    running jobs with an error; `is_polling` is called with True before the first poll and with False at a drain.
    """

    def __init__(
        self,
        *,
        source: JobSource,
        handlers: Mapping[str, OpenHandler],
        queue: JobQueue,
        truncated: TruncatedJobs,
        register: Callable[[], Awaitable[None]],
        answer: Callable[[QueuedJob], Awaitable[Answer]],
        end_jobs: Callable[[], None],
        drain_times: DrainTimes,
        waits_for_handlers: bool = True,
        is_polling: Callable[[bool], object] = bool,
    ) -> None:
        self._source = source
        self._handlers = handlers
        self._queue = queue
        self._truncated = truncated
        self._register = register
        self._answer = answer
        self._end_jobs = end_jobs
        self._times = drain_times
        self._waits_for_handlers = waits_for_handlers
        self._is_polling = is_polling
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._poll: asyncio.Task[None] | None = None
        self._draining = asyncio.Event()
        self._all_answered = asyncio.Event()
        self.lost = 0
        """Jobs whose result could not be posted before the end."""

    def drain(self) -> None:
        """Poll no more, finish the jobs that are outstanding, then end. Returns at once."""
        self._draining.set()

    def give_up_soon(self) -> None:
        """Drain, but wait for no poll, and for posts only as long as they need now."""
        self._draining.set()
        if self._poll is not None:
            self._poll.cancel()
        self._start_all()
        self._loop.call_later(_LAST_POSTS, self._give_up)

    async def run(self) -> None:
        """Work until a drain is over. Raises AuthenticationError."""
        poll = self._poll = self._loop.create_task(self._poll_until_drain())
        draining = self._loop.create_task(self._draining.wait())
        await asyncio.wait((poll, draining), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        self._draining.set()
        self._is_polling(False)
        log.info("draining, %d jobs in progress", self._queue.outstanding)
        await self._finish(poll)
        await asyncio.gather(*(handler.close() for handler in set(self._handlers.values())))
        if poll.done() and not poll.cancelled() and (error := poll.exception()) is not None:
            raise error

    async def _poll_until_drain(self) -> None:
        preparing = self._loop.create_task(self._prepare())
        stopped = self._loop.create_task(self._draining.wait())
        await asyncio.wait((preparing, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not preparing.done():
            preparing.cancel()
            with suppress(asyncio.CancelledError):
                await preparing
            return
        preparing.result()
        while not self._draining.is_set():
            polled = await self._source.poll()
            if polled.partial:
                self._truncated_response(polled.partial)
            if polled.body is not None:
                self._received(polled.body)
                if self._queue.outstanding == 1:  # nothing else to do: the job starts before the next poll is sent
                    await asyncio.sleep(0)
            if polled.partial or self._source.is_well:  # a runtime that is away can hand out nothing again
                self._answer_overdue(self._loop.time())

    async def _prepare(self) -> None:
        """Open the handlers, wait until they are ready, and register the worker."""
        handlers = set(self._handlers.values())
        for handler in handlers:
            await handler.open()
        if self._waits_for_handlers:
            await asyncio.gather(*(handler.wait_until_ready() for handler in handlers))
        await self._register()
        self._is_polling(True)

    async def _finish(self, poll: "asyncio.Task[None]") -> None:
        """Wait for the open poll and for all jobs, each within its time."""
        times = self._times
        timers = [
            self._loop.call_later(times.poll, self._end_poll, poll),
            self._loop.call_later(times.jobs, self._time_is_over),
            self._loop.call_later(max(times.poll + 1, times.jobs + times.posts), self._give_up),
        ]
        await asyncio.wait((poll,))
        self._answer_overdue(float("inf"))
        if self._queue.outstanding:
            await self._all_answered.wait()
        for timer in timers:
            timer.cancel()

    def _end_poll(self, poll: "asyncio.Task[None]") -> None:
        self._loop.call_soon(poll.cancel)  # not at once: a response that was read in this round is taken first

    def _time_is_over(self) -> None:
        if self._queue.outstanding:
            log.warning("drain_timeout is over; %d jobs are ended", self._queue.outstanding)
        self._end_jobs()
        self._start_all()

    def _start_all(self) -> None:
        """Answer also the jobs that wait for a slot: no command is started any more, and they need none."""
        self._queue.lift_limits()
        self._start_jobs()

    def _give_up(self) -> None:
        cancelled = [task.cancel() for task in self._tasks]
        if not any(cancelled):
            self._all_answered.set()

    def _received(self, body: bytes | bytearray | memoryview) -> None:
        item: QueuedJob
        try:
            item = parse_job(body)
        except MalformedJobError as error:
            item = error
        job_id = item.job_id
        self._truncated.redelivered(job_id)
        if job_id is None:
            self._source.reject(f"the runtime answers with what is not a job: {item}")
        elif self._queue.is_outstanding(job_id):
            log.warning("job %.80s was handed out again while it is in progress; it runs once", job_id)
            self._source.repeated()
        elif self._queue.was_answered(job_id):
            log.warning("job %.80s was handed out again after its result was accepted; it is not run again", job_id)
            self._source.repeated()
        else:
            self._source.accept()
            self._put(item)

    def _truncated_response(self, partial: bytes) -> None:
        job_id = salvage_job_id(partial)
        if job_id and not self._queue.is_outstanding(job_id) and not self._queue.was_answered(job_id):
            self._truncated.add(job_id, self._loop.time())

    def _answer_overdue(self, now: float) -> None:
        for job_id in self._truncated.overdue(now):
            self._put(MalformedJobError("the job's delivery was truncated", job_id=job_id))

    def _put(self, item: QueuedJob) -> None:
        self._queue.put(item)
        self._start_jobs()

    def _start_jobs(self) -> None:
        while (item := self._queue.take()) is not None:
            task = self._loop.create_task(self._process(item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _process(self, item: QueuedJob) -> None:
        posted: Posted | None = None
        try:
            posted = (await self._answer(item)).posted
        except asyncio.CancelledError:
            log.error("job %.80s: its result could not be posted before the end", item.job_id)  # noqa: TRY400
        except Exception:
            log.exception("job %.80s: a bug in cm-exec", item.job_id)
        finally:
            self.lost += posted is None or posted.is_rejected
            self._queue.done(item, answered=posted is not None and posted.is_accepted)
            self._start_jobs()
            if not self._queue.outstanding and self._draining.is_set():
                self._all_answered.set()
