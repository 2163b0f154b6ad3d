"""Tells the terminal of jobs and breaches, as the console is told: by the runtime's events."""

import http.client
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from cm_exec.terminal import DIM, RED, Terminal


class _Failure(msgspec.Struct):
    message: str | None = None


class _Job(msgspec.Struct):
    number: int
    function: str
    state: str
    queryBytes: int  # noqa: N815 - the API's names
    runMs: float | None = None  # noqa: N815
    resultBytes: int | None = None  # noqa: N815
    failure: _Failure | None = None
    reason: str | None = None


class _Breach(msgspec.Struct):
    message: str
    function: str | None = None


class _Update(msgspec.Struct):
    jobs: list[_Job] = []
    jobsOmitted: int = 0  # noqa: N815
    violations: list[_Breach] = []


_ENDED = frozenset({"done", "failed", "lost"})
_update = msgspec.json.Decoder(_Update)


class Follower(threading.Thread):
    """Follows the runtime at `url` until it ends."""

    def __init__(self, url: str, terminal: Terminal) -> None:
        super().__init__(name="follow", daemon=True)
        self._address = urlsplit(url).netloc
        self._terminal = terminal
        self._told: set[int] = set()

    def run(self) -> None:
        """See threading.Thread."""
        try:
            for text in self._events():
                self._tell(_update.decode(text))
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            return  # the runtime ends

    def _events(self) -> Iterator[bytes]:
        connection = http.client.HTTPConnection(self._address)
        connection.request("GET", "/events")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                yield line[6:]

    def _tell(self, update: _Update) -> None:
        for job in sorted(update.jobs, key=lambda job: job.number):
            if job.state in _ENDED and job.number not in self._told:
                self._told.add(job.number)
                self._terminal.line(job.function, *_sentence(job))
        if update.jobsOmitted:
            self._terminal.line("runtime", f"… and {update.jobsOmitted} more jobs", DIM)
        for violation in update.violations:
            self._terminal.line(violation.function or "worker", f"breach of the contract: {violation.message}", RED)


def _sentence(job: _Job) -> tuple[str, str]:
    run = "" if job.runMs is None else f" in {duration(job.runMs)}"
    if job.state == "done":
        return f"#{job.number} done{run}, {size(job.queryBytes)} → {size(job.resultBytes or 0)}", DIM
    why = (job.failure.message if job.failure else None) or job.reason or "it gave no reason"
    return f"#{job.number} {job.state}{run}: {why}", RED


def duration(milliseconds: float) -> str:
    """For people: three digits and a unit."""
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"  # noqa: PLR2004
    return f"{milliseconds / 1000:.1f} s"


def size(octets: int) -> str:
    """For people: bytes, or binary multiples."""
    amount = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004 - binary
            return f"{amount:.3g} {unit}" if unit != "B" else f"{octets} B"
        amount /= 1024
    return f"{amount:.3g} GiB"
