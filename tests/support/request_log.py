"""Record the requests of a runtime in order, and wait for them."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from tests.support.raw_http import Head

T = TypeVar("T")

PATIENCE: Final = 30.0
"""Seconds that a test waits for what must happen; long, since the machine may be busy."""

KEPT: Final = 64 << 20
"""Bytes of a body that are kept; of a longer one the size and the digest tell the rest."""


class Endpoint(StrEnum):
    JOB = "job"
    RESULT = "result"
    SCHEMA = "schema"
    RESTART = "restart"
    OTHER = "other"


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One request. `at`, `answered_at`, `gone_at` are seconds of the monotonic clock.

    `status` is what the script answered, None while it has not; `complete` tells that the whole body came.
    `gone_at` is when the client hung up on a request that was left unanswered.
    """

    at: float
    connection: int
    endpoint: Endpoint
    head: Head
    body: bytearray = field(default_factory=bytearray)
    size: int = 0
    complete: bool = False
    status: int | None = None
    answered_at: float | None = None
    gone_at: float | None = None
    finished: bool = False
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def job_id(self) -> str:
        """The last segment of the path, decoded."""
        return unquote(self.head.target.rpartition("/")[2])

    @property
    def accepted(self) -> bool:
        return self.complete and self.status is not None and 200 <= self.status < 300

    @property
    def sha256(self) -> str:
        return str(self._digest.hexdigest())

    def take(self, part: bytes) -> None:
        """Note a piece of the body."""
        self.size += len(part)
        self._digest.update(part)
        if len(self.body) < KEPT:
            self.body += part


class RequestLog:
    """The record of a runtime. The test can read it while connections write to it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._requests: list[Request] = []
        self.handshake_failures: list[str] = []
        self.connections = 0

    def add(self, request: Request) -> None:
        with self.changed:
            self._requests.append(request)
            self.changed.notify_all()

    def note(self, change: Callable[[], None]) -> None:
        """Change the record, and notify waiting tests."""
        with self.changed:
            change()
            self.changed.notify_all()

    def conclude(self, request: Request, status: int | None) -> None:
        """Note the status of the response to `request`, None if the connection breaks."""
        with self.changed:
            request.status, request.answered_at, request.finished = status, time.monotonic(), True
            self.changed.notify_all()

    def give_up(self, request: Request) -> None:
        """Note the end of a request, and the time at which the client disconnected if it had no response."""
        with self.changed:
            if not request.finished:
                request.gone_at, request.finished = time.monotonic(), True
            self.changed.notify_all()

    def handshake_failed(self, why: str) -> None:
        with self.changed:
            self.handshake_failures.append(why)
            self.changed.notify_all()

    def all(self, endpoint: Endpoint | None = None) -> list[Request]:
        with self.changed:
            return [r for r in self._requests if endpoint in (None, r.endpoint)]

    def open_polls(self) -> int:
        """Return the polls that have no response yet."""
        return sum(not r.finished for r in self.all(Endpoint.JOB))

    def wait_for(self, condition: Callable[[], T | None], *, what: str, seconds: float = PATIENCE) -> T:
        """Wait for a true value of `condition` and return it. AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"{what} did not happen in {seconds:g} s; seen: {self.summary()}"
            with self.changed:
                self.changed.wait(min(remaining, 0.05))
        return value

    def summary(self) -> str:
        """Return a summary of the requests for messages of failed tests."""
        return ", ".join(f"{r.head.method} {r.endpoint} -> {r.status} ({r.size} B)" for r in self.all()[-40:])
