"""The runtime's day: keeps ledger, results and callers together. All of it runs on the event loop's thread."""

from asyncio import AbstractEventLoop, TimerHandle  # noqa: TC003 - one import, not a section
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cm_exec.dev.breach import BreachKind
from cm_exec.dev.call import Call
from cm_exec.dev.fault import Endpoint
from cm_exec.dev.job_body import Submission
from cm_exec.dev.ledger import Answer, Change, Forgotten, Job, Ledger, Reception, Rules
from cm_exec.dev.outcome import is_error_result
from cm_exec.dev.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A restart notification. `at` in seconds since the epoch; `dropped` are the ids of the jobs it threw away."""

    at: float
    dropped: tuple[str, ...]


class Office:
    """Serves the protocol application on one side and the callers on the other.

    `clock` gives seconds since the epoch that never go back. `on_room` is called when a job may go out; `loop` is
    set before anything else is called.
    """

    def __init__(self, *, directory: Path, slots: int | None, history: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.directory = directory
        self.loop: AbstractEventLoop | None = None
        self.on_room: Callable[[], None] = lambda: None
        self.ledger = Ledger(rules=Rules(slots=slots, history=history), tell=self._changed)
        self.restarts: deque[Restart] = deque(maxlen=1000)
        self.schema_posts: deque[bytes] = deque(maxlen=100)
        self._calls: dict[str, Call] = {}
        self._bodies: dict[str, Spool] = {}
        self._alarm: TimerHandle | None = None

    # The callers' side

    def submit(self, call: Call, submission: Submission) -> Job:
        """Queue a job."""
        self._calls[call.job_id] = call
        job = self.ledger.submit(call.job_id, submission, self.clock())
        self._set_alarm()
        self.on_room()
        return job

    def expect(self, call: Call) -> None:
        """Take a result under this id, although no job of ours was handed out."""
        self._calls[call.job_id] = call
        self.ledger.adopt(call.job_id, self.clock())

    def body(self, job_id: str) -> Spool | None:
        """The result's bytes, as far as they are there and kept."""
        return self._bodies.get(job_id)

    def close(self) -> None:
        """The runtime ends."""
        if self._alarm is not None:
            self._alarm.cancel()
        self.ledger.close(self.clock())
        for job_id, call in tuple(self._calls.items()):
            call.end(self.ledger.jobs[job_id], None)
        self._calls.clear()

    # The worker's side

    def hand_out(self) -> Job | None:
        """The next job, if one may go out."""
        return self.ledger.hand_out(self.clock())

    def put_back(self, job_id: str) -> None:
        """The job did not arrive."""
        self.ledger.put_back(job_id)

    def poll_began(self) -> None:
        """A worker asks."""

    def poll_ended(self) -> None:
        """A worker has its answer, or is gone."""

    def result_began(self, job_id: str, *, content_type: str | None, streamed: bool) -> Spool:  # noqa: ARG002
        """A result comes; where its bytes go."""
        return Spool(self.directory)

    def result_ended(self, job_id: str, body: Spool, *, content_type: str | None, streamed: bool) -> Reception:
        """It is there."""
        body.finish()
        job = self.ledger.jobs.get(job_id)
        if job is not None and job.answer is None:
            self._bodies[job_id] = body
        answer = Answer(size=body.size, content_type=content_type, streamed=streamed, error=_is_error(body, job_id))
        reception = self.ledger.answer(job_id, answer, self.clock())
        if job is not None and content_type != _OCTETS:
            message = f"the result came as {content_type or 'nothing'}; it must be {_OCTETS}"
            self.ledger.report(BreachKind.CONTENT_TYPE, message, self.clock(), job=job)
        self.on_room()
        return reception

    def result_cut(self, job_id: str, body: Spool, kind: BreachKind) -> None:
        """It will not be there whole."""
        body.cut_short()
        if kind is BreachKind.TRUNCATED:
            self._report(kind, f"the body ended early, after {body.size} bytes", job_id)

    def too_large(self, job_id: str, size: int) -> None:
        """It was over the limit."""
        self._report(BreachKind.TOO_LARGE, f"a result of {size} bytes is over the limit", job_id)

    def schemas_posted(self, body: bytes, content_type: str | None) -> None:  # noqa: ARG002
        """The worker's functions."""
        self.schema_posts.append(body)

    def restarted(self) -> list[str]:
        """The worker started anew: the jobs that are dropped."""
        dropped = self.ledger.drop_in_hand(self.clock(), "dropped by the worker's restart notification")
        self.restarts.append(Restart(at=self.clock(), dropped=tuple(dropped)))
        return dropped

    def unauthorized(self, endpoint: Endpoint) -> None:
        """A request without the right token."""
        self.ledger.report(BreachKind.UNAUTHORIZED, f"a {endpoint} request without the right token", self.clock())

    def _report(self, kind: BreachKind, message: str, job_id: str) -> None:
        job = self.ledger.jobs.get(job_id)
        self.ledger.report(kind, message, self.clock(), job=job, job_id=job_id)

    # What follows from a change

    def _changed(self, change: Change) -> None:
        if isinstance(change, Forgotten):
            self._bodies.pop(change.job_id, None)
        elif isinstance(change, Job) and change.state.final:
            call = self._calls.pop(change.job_id, None)
            if call is not None:
                call.end(change, self._bodies.get(change.job_id))

    def _set_alarm(self) -> None:
        due = self.ledger.next_deadline()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None and self.loop is not None:
            self._alarm = self.loop.call_later(max(0.0, due - self.clock()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.ledger.tick(self.clock())
        self._set_alarm()


_OCTETS = "application/octet-stream"


def _is_error(body: Spool, job_id: str) -> bool:
    return is_error_result(body.read(0, body.size) if body.size <= _LARGEST_ERROR else b"", job_id)


_LARGEST_ERROR = 1024 * 1024
