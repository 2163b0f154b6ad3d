"""One job from the queue to its posted result."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from cm_exec.handlers.handler import Handler, Outcome, Result, Stream
from cm_exec.handlers.spool import MEMORY_LIMIT, CutOffError
from cm_exec.protocol.failure import Failure, Reason, error_body
from cm_exec.protocol.job import Job
from cm_exec.protocol.nearest import nearest
from cm_exec.runtime.reporter import Delivered, Delivery, Reporter
from cm_exec.worker.job_queue import Item
from cm_exec.worker.relay import StderrRelay

log: Final = logging.getLogger("cm_exec.worker")


class Slot:
    """Answers jobs one after another, each exactly once, whatever its command does.

    `stopping` tells that no further command is to be started.
    """

    def __init__(self, handlers: Mapping[str, Handler], reporter: Reporter, stopping: Callable[[], bool]) -> None:
        self._handlers = handlers
        self._reporter = reporter
        self._stopping = stopping
        self.lost = 0
        """Results that could not be posted before the end."""

    def answer(self, job_id: str, item: Item) -> None:
        """Run the job and post its result or its error."""
        delivered = False
        started = time.monotonic()
        tags = {"function": item.query_type, "job_id": job_id}
        try:
            with self._outcome(item, tags) as outcome:
                seconds = time.monotonic() - started
                final, size, result = self._deliver_finally(job_id, item, outcome)
                delivered = True
                self.lost += result.delivery is Delivery.GIVEN_UP
                _log_answer(tags, final, seconds, size, result.delivery)
        except Exception:
            log.exception("a bug in cm-exec", extra={"tags": tags})
            if not delivered:
                self._deliver(job_id, item, _BUG)

    @contextmanager
    def _outcome(self, item: Item, tags: Mapping[str, str]) -> Iterator[Outcome]:
        if not isinstance(item, Job):
            yield Failure(reason=Reason.MALFORMED_JOB, message=str(item))
        elif item.query_type not in self._handlers:
            yield _unknown(item.query_type, self._handlers)
        elif self._stopping():
            yield Failure(reason=Reason.SHUTDOWN, message="the job was not started because the worker shuts down")
        else:
            relay = StderrRelay(tags, item.redact)
            with self._handlers[item.query_type].run(item, relay.write) as outcome:
                if not isinstance(outcome, Stream):
                    relay.close()
                yield outcome
                relay.close()

    def _deliver_finally(self, job_id: str, item: Item, outcome: Outcome) -> tuple[Result | Failure, int, Delivered]:
        """Deliver the outcome, or where the runtime will not have the result, an error that says so."""
        if isinstance(outcome, Stream):
            outcome, streamed = self._stream(job_id, outcome)
        else:
            streamed = None
        size, result = self._deliver(job_id, item, outcome, streamed)
        if result.delivery is not Delivery.REFUSED or isinstance(outcome, Failure):
            return outcome, size, result
        message = f"the runtime refused the result of {size} bytes: {result.why}"
        rejection = Failure(reason=Reason.RESULT_REJECTED, message=message)
        return rejection, *self._deliver(job_id, item, rejection)

    def _stream(self, job_id: str, stream: Stream) -> tuple[Result | Failure, Delivered | None]:
        """Post the result as it comes; how the job ended, and what became of the post if that is decided."""
        try:
            streamed = self._reporter.stream(job_id, stream.spool.live_chunks())
        except CutOffError:
            streamed = None
        return stream.ended(), streamed

    def _deliver(
        self, job_id: str, item: Item, outcome: Result | Failure, streamed: Delivered | None = None
    ) -> tuple[int, Delivered]:
        """What became of the outcome, with its size in bytes."""
        if isinstance(outcome, Failure):
            error = error_body(outcome, job_id=job_id, query_type=item.query_type)
            return len(error), self._reporter.deliver(job_id, error)
        spool = outcome.spool
        if streamed is not None:
            return spool.size, streamed
        body = spool.getvalue() if spool.size <= MEMORY_LIMIT else spool
        return spool.size, self._reporter.deliver(job_id, body)


_BUG: Final = Failure(reason=Reason.NOT_STARTED, message="cm-exec failed at this job by a bug of its own")


def _unknown(name: str, known: Mapping[str, Handler]) -> Failure:
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; it has {', '.join(map(repr, known))}"
    return Failure(reason=Reason.UNKNOWN_FUNCTION, message=f"this module has no function {name!r}{hint}")


def _log_answer(
    tags: Mapping[str, str], outcome: Result | Failure, seconds: float, size: int, delivery: Delivery
) -> None:
    what = f"failed: {outcome.reason}: {outcome.message}" if isinstance(outcome, Failure) else "ok"
    lost = "" if delivery is Delivery.ACCEPTED else f", result {delivery.name.lower()}"
    level = logging.INFO if isinstance(outcome, Result) and not lost else logging.WARNING
    log.log(level, "%s, %.0f ms, %d bytes%s", what, seconds * 1000, size, lost, extra={"tags": tags})
