"""The part of the runtime that serves one worker: its polls, its jobs in progress, and its load."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from benchmarks.payload import Payload

LONG_POLL: Final = 5.0
"""Seconds that a poll is held without a job; the value of the protocol."""

NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

Answer = Callable[[bytes], None]


class Poller(Protocol):
    """A connection that waits for a job."""

    def send(self, *parts: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Jobs for a lane until `seconds` are over and `min_jobs` are answered, after `warmup` jobs.

    At most `in_progress` jobs are unanswered at a time, as the platform limits them by `MAX_CONCURRENT_TASKS`. After
    each answer no job is handed out for `pause` seconds.
    """

    payload: Payload
    in_progress: int
    warmup: int
    min_jobs: int
    seconds: float
    pause: float = 0.0


@dataclass(slots=True)
class Measured:
    """The outcome of a load. Times in nanoseconds; `latencies` are from a job's hand-out to its whole result."""

    latencies: list[int] = field(default_factory=list)
    wrong: int = 0
    started: int = 0
    ended: int = 0
    cpu: int = 0


@dataclass(frozen=True, slots=True)
class _JobInProgress:
    handed_out: int
    serial: int


class Lane:
    """The jobs of one worker. `clock` and `cpu_clock` return nanoseconds.

    It sends on the connections that it gets, and calls `finished` when a load is complete.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], int],
        cpu_clock: Callable[[], int],
        first_poll: Callable[[str, int], None],
        finished: Callable[[Measured], None],
    ) -> None:
        self.name = name
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._first_poll = first_poll
        self._finished = finished
        self._polled = False
        self._waiting: deque[tuple[Poller, int]] = deque()
        self._in_progress: dict[str, _JobInProgress] = {}
        self._serial = 0
        self._load: Load | None = None
        self._warming = 0
        self._deadline = 0
        self._rests_until = 0
        self._measured = Measured()

    def start(self, load: Load) -> None:
        """Start to hand out jobs."""
        self._load = load
        self._warming = load.warmup
        self._measured = Measured()
        if not load.warmup:
            self._begin()
        self._hand_out()

    def poll(self, poller: Poller) -> None:
        """Accept a poll. It is answered at once if there is a job, and held otherwise."""
        now = self._clock()
        if not self._polled:
            self._polled = True
            self._first_poll(self.name, now)
        self._waiting.append((poller, now + int(LONG_POLL * 1e9)))
        if self._load is not None:
            self._hand_out()
            self._finish_if_done()

    def result(self, job_id: str, body: bytes | bytearray, poster: Poller) -> None:
        """Accept a result, record its time, and hand out the next job."""
        now = self._clock()
        job = self._in_progress.pop(job_id, None)
        if job is None or self._load is None:
            poster.send(NOT_FOUND)
            return
        poster.send(NO_CONTENT)
        self._rests_until = now + int(self._load.pause * 1e9)
        self._note(job, now, right=self._load.payload.is_echo(job.serial, body))
        self._hand_out()
        self._finish_if_done()

    def tick(self) -> None:
        """Continue after a pause, and answer the polls that were held long enough."""
        now = self._clock()
        if self._load is not None:
            self._hand_out()
        while self._waiting and self._waiting[0][1] <= now:
            self._waiting.popleft()[0].send(NO_CONTENT)

    def release(self) -> None:
        """Answer all polls, so that the worker can end at once."""
        while self._waiting:
            self._waiting.popleft()[0].send(NO_CONTENT)

    def forget(self, poller: Poller) -> None:
        """Forget a closed connection: it gets no job."""
        self._waiting = deque(held for held in self._waiting if held[0] is not poller)

    def _begin(self) -> None:
        assert self._load is not None
        self._measured.cpu = -self._cpu_clock()
        self._measured.started = self._clock()
        self._deadline = self._measured.started + int(self._load.seconds * 1e9)

    def _note(self, job: _JobInProgress, now: int, *, right: bool) -> None:
        measured = self._measured
        measured.wrong += not right
        if not self._warming:
            measured.latencies.append(now - job.handed_out)
            measured.ended = now
            return
        self._warming -= 1
        if not self._warming:
            self._begin()

    def _hand_out(self) -> None:
        load = self._load
        assert load is not None
        if self._clock() < self._rests_until:
            return
        while self._waiting and len(self._in_progress) < load.in_progress and not self._is_over(load):
            poller, _ = self._waiting.popleft()
            self._serial += 1
            job_id = f"{self.name}-{self._serial}"
            body = job_body(job_id, load.payload.query(self._serial))
            self._in_progress[job_id] = _JobInProgress(self._clock(), self._serial)
            poller.send(_JOB_HEAD % sum(map(len, body)), *body)

    def _is_over(self, load: Load) -> bool:
        if self._warming:
            return False
        return len(self._measured.latencies) >= load.min_jobs and self._clock() >= self._deadline

    def _finish_if_done(self) -> None:
        if self._load is not None and not self._in_progress and self._is_over(self._load):
            self._measured.cpu += self._cpu_clock()
            self._load = None
            self._finished(self._measured)


_JOB_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_BEFORE_QUERY: Final = (
    b'{"type": "computeModuleJobV1", "computeModuleJobV1": {"jobId": "%b", "queryType": "echo", "query": '
)
_AFTER_QUERY: Final = (
    b', "userId": "00000000-0000-0000-0000-000000000000", "temporaryCredentialsAuthToken": "", "authHeader": ""}}'
)


def job_body(job_id: str, query: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the response to GET job in the protocol's envelope, in parts, so that a large query is not copied."""
    return (_BEFORE_QUERY % job_id.encode(), *query, _AFTER_QUERY)
