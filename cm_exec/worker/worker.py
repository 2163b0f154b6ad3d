"""The worker: one thread polls, each slot is a thread that runs jobs, and a drain ends them all."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.protocol.job import MalformedJobError, parse_job, salvage_job_id
from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.errors import RuntimeRefusedError
from cm_exec.worker.job_queue import Item, JobQueue
from cm_exec.worker.slot import Slot
from cm_exec.worker.torn import TornJobs

log: Final = logging.getLogger(__name__)

OPEN_POLL: Final = 5.5
"""Seconds that the open poll is waited for in a drain: the runtime holds it for 5 and may still hand out a job."""

LAST_POSTS: Final = 3.0
"""Seconds after drain_timeout in which jobs are ended and their errors posted; Kubernetes kills after 30 in all."""


class Worker:
    """Polls until it is told to drain, and answers every job that it was handed.

    `shares` holds the functions' max_concurrency; `schemas` is the body for POST schemas; `drain_timeout` is in
    seconds.
    """

    def __init__(
        self,
        *,
        runtime: RuntimeClient,
        handlers: Mapping[str, Handler],
        surroundings: Surroundings,
        shares: Mapping[str, int],
        schemas: bytes,
        concurrency: int,
        drain_timeout: float,
    ) -> None:
        self._runtime = runtime
        self._handlers = handlers
        self._surroundings = surroundings
        self._schemas = schemas
        self._drain_timeout = drain_timeout
        self._queue = JobQueue(shares)
        self._torn = TornJobs()
        self._draining = threading.Event()
        self._giving_up = threading.Event()
        self._poller, self._poll_link = runtime.poller(self._draining.wait)
        self._reporters = [runtime.reporter(self._giving_up.wait) for _ in range(concurrency)]
        self._slots = [Slot(handlers, r, stopping=lambda: surroundings.stop.is_set) for r in self._reporters]
        self.error: Exception | None = None
        """Why the worker ended, where it was not told to."""

    def drain(self, *, wait_for_poll: bool = True) -> None:
        """Poll no more, finish the jobs in hand, then end. Returns at once."""
        self._draining.set()
        self._runtime.abandon_start()
        if not wait_for_poll:
            self._poll_link.abort()

    def run(self) -> None:
        """Work until a drain is over."""
        threads = [threading.Thread(target=self._poll_for_ever, name="poll", daemon=True)]
        for number, slot in enumerate(self._slots, 1):
            threads.append(threading.Thread(target=self._serve, args=(slot,), name=f"slot-{number}", daemon=True))
        for handler in self._handlers.values():
            handler.open()
        for thread in threads:
            thread.start()
        self._draining.wait()
        log.info("draining; jobs in hand: %d", self._queue.in_hand)
        self._finish(threads)
        for handler in self._handlers.values():
            handler.close()

    @property
    def lost(self) -> int:
        """Jobs whose result could not be posted before the end."""
        return sum(slot.lost for slot in self._slots) + self._queue.in_hand

    def _finish(self, threads: list[threading.Thread]) -> None:
        steps = [(OPEN_POLL, self._abandon_poll), (self._drain_timeout, self._end_jobs)]
        steps.append((max(OPEN_POLL + 1, self._drain_timeout + LAST_POSTS), self._give_up))
        start = time.monotonic()
        for after, step in sorted(steps, key=lambda step: step[0]):
            if _all_end(threads, start + after):
                return
            step()
        _all_end(threads, time.monotonic() + 1)

    def _abandon_poll(self) -> None:
        self._poll_link.abort()

    def _end_jobs(self) -> None:
        if self._queue.in_hand:
            log.warning("drain_timeout is over; jobs that are ended: %d", self._queue.in_hand)
        self._surroundings.stop.set()

    def _give_up(self) -> None:
        self._giving_up.set()
        for reporter in self._reporters:
            reporter.abort()

    def _poll_for_ever(self) -> None:
        try:
            self._runtime.announce(self._schemas, self._draining.wait)
            while not self._draining.is_set():
                self._poll_once()
        except RuntimeRefusedError as error:
            self.error = error
        except Exception as error:
            log.exception("polling ended by a bug in cm-exec")
            self.error = error
        finally:
            self._answer_torn(after=0)
            self._draining.set()
            self._queue.close()
            self._runtime.close()

    def _poll_once(self) -> None:
        polled = self._poller.poll()
        if polled.torn and (job_id := salvage_job_id(polled.torn)):
            self._torn.add(job_id)
        if polled.body is not None:
            self._received(polled.body)
        self._answer_torn()

    def _received(self, body: bytes | bytearray) -> None:
        item: Item
        try:
            item = parse_job(body)
        except MalformedJobError as error:
            item = error
        self._torn.came(item.job_id)
        if item.job_id is None:
            self._poller.unusable(f"the runtime answers with what is not a job: {item}")
            return
        self._poller.useful()
        if not self._queue.put(item):
            log.warning("job %s was handed out again while it is in hand", item.job_id)

    def _answer_torn(self, **after: float) -> None:
        for job_id in self._torn.overdue(**after):
            self._queue.put(MalformedJobError("the job broke off on its way here", job_id=job_id))

    def _serve(self, slot: Slot) -> None:
        while (item := self._queue.take()) is not None:
            try:
                slot.answer(item.job_id or "", item)
            except Exception:
                log.exception("job %s: a bug in cm-exec", item.job_id)  # the slot is needed for the next job
            finally:
                self._queue.done(item)


def _all_end(threads: list[threading.Thread], deadline: float) -> bool:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
