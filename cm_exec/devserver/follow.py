"""Report jobs and protocol violations on the terminal, from the events that the console gets too."""

import http.client
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from cm_exec.terminal import DIM, RED, Terminal
from cm_exec.text import duration_text, size_text


class _Failure(msgspec.Struct):
    message: str | None = None


class _Job(msgspec.Struct, rename="camel"):
    number: int
    function: str
    state: str
    query_bytes: int
    run_ms: float | None = None
    result_bytes: int | None = None
    failure: _Failure | None = None
    reason: str | None = None


class _Violation(msgspec.Struct):
    message: str
    function: str | None = None


class _Worker(msgspec.Struct):
    state: str


class _Update(msgspec.Struct, rename="camel"):
    jobs: list[_Job] = []
    jobs_omitted: int = 0
    breaches: list[_Violation] = []
    worker: _Worker | None = None


_ENDED = frozenset({"done", "failed", "lost"})
_update = msgspec.json.Decoder(_Update)


class Follower(threading.Thread):
    """Follows the runtime at `url` until it ends. `on_ready` is called when a worker polls for the first time."""

    def __init__(self, url: str, token: str, terminal: Terminal, on_ready: Callable[[], None]) -> None:
        super().__init__(name="follow", daemon=True)
        self._address = urlsplit(url).netloc
        self._token = token
        self._terminal = terminal
        self._on_ready: Callable[[], None] | None = on_ready
        self._reported: set[int] = set()

    def run(self) -> None:
        """Implement threading.Thread."""
        try:
            for text in self._events():
                self._report(_update.decode(text))
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            return  # the runtime ends

    def _events(self) -> Iterator[bytes]:
        connection = http.client.HTTPConnection(self._address)
        connection.request("GET", "/events", headers={"Authorization": f"Bearer {self._token}"})
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                yield line[6:]

    def _report(self, update: _Update) -> None:
        if self._on_ready is not None and update.worker is not None and update.worker.state == "ready":
            self._on_ready()
            self._on_ready = None
        for job in sorted(update.jobs, key=lambda job: job.number):
            if job.state in _ENDED and job.number not in self._reported:
                self._reported.add(job.number)
                self._terminal.line(job.function, *_sentence(job))
        if update.jobs_omitted:
            self._terminal.line("runtime", f"… and {update.jobs_omitted} more jobs", DIM)
        for violation in update.breaches:
            self._terminal.line(violation.function or "worker", f"protocol violation: {violation.message}", RED)


def _sentence(job: _Job) -> tuple[str, str]:
    run = "" if job.run_ms is None else f" in {duration_text(job.run_ms / 1000)}"
    if job.state == "done":
        return f"#{job.number} done{run}, {size_text(job.query_bytes)} → {size_text(job.result_bytes or 0)}", DIM
    why = (job.failure.message if job.failure else None) or job.reason or "it gave no reason"
    return f"#{job.number} {job.state}{run}: {why}", RED
