"""A call of a function, as the program that made it sees it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from cm_exec.local_runtime.core.job import RuntimeJob
from cm_exec.local_runtime.core.outcome import ReportedFailure
from cm_exec.local_runtime.results import ResultSpool


class NoResultError(Exception):
    """The job ended without a result: its caller's time-out, a restart, or the end of the runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What the worker posted.

    `streamed`: it came chunked; `failure`: what an error result reports.
    """

    body: bytes = field(repr=False)
    content_type: str | None
    streamed: bool
    failure: ReportedFailure | None


class Call:
    """A submitted job."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._ended: Future[tuple[RuntimeJob, ResultSpool | None]] = Future()
        self._on_begin: Callable[[ResultSpool], None] = lambda _: None

    def __repr__(self) -> str:
        return f"Call({self.job_id!r})"

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._ended.done()

    def wait(self, timeout: float | None = None) -> CallResult:
        """Wait for the result and return it.

        Raises TimeoutError after `timeout` seconds, and NoResultError when none will come.
        """
        job, body = self._ended.result(timeout)
        if job.answer is None or body is None:
            raise NoResultError(f"job {job.job_id} ({job.function}) is {job.state}: {job.reason}")
        return CallResult(
            body=body.content(),
            content_type=job.answer.content_type,
            streamed=job.answer.streamed,
            failure=job.answer.failure,
        )

    def on_begin(self, callback: Callable[[ResultSpool], None]) -> None:
        """Call this on the runtime's thread when a result begins to come chunked."""
        self._on_begin = callback

    def on_end(self, callback: Callable[[RuntimeJob, ResultSpool | None], None]) -> None:
        """Call this on the runtime's thread when the job has ended; at once if it has."""
        self._ended.add_done_callback(lambda ended: callback(*ended.result()))

    def begin(self, body: ResultSpool) -> None:
        """Hand over a result that begins to come chunked; the runtime does it."""
        self._on_begin(body)

    def end(self, job: RuntimeJob, body: ResultSpool | None) -> None:
        """Hand over the ended job; the runtime does it once."""
        if not self._ended.done():
            self._ended.set_result((job, body))

    def chunks(self, timeout: float | None = None) -> Iterator[bytes]:
        """Yield the result piece by piece, without holding it in memory."""
        _, body = self._ended.result(timeout)
        yield from body.chunks() if body else ()

    def wait_ended(self, timeout: float | None = None) -> RuntimeJob:
        """Wait for the job's end and return it."""
        return self._ended.result(timeout)[0]
