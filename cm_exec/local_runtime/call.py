"""Calls of functions, as the program that made them sees them, and the bytes of their results."""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from cm_exec.local_runtime.core import RuntimeJob
from cm_exec.local_runtime.core.result import ReportedFailure

IN_MEMORY: Final = 256 * 1024
CHUNK: Final = 256 * 1024


class ResultSpool:
    """Bytes that are appended by one writer and read by any number of readers, from any thread once complete.

    `complete` is set by `finish`, `cut` by `cut_short`; `on_growth` is called after each change. The file has no name
    and is closed with the last reference, so that nothing is left on the disk.
    """

    def __init__(self, folder: Path, *, in_memory: int = IN_MEMORY) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0
        self.complete = False
        self.cut = False
        self.on_growth: list[Callable[[], None]] = []

    def append(self, data: bytes) -> None:
        """Add to the end."""
        if self._file is None and self.size + len(data) > self._in_memory:
            self._file = TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 - closed by the finalizer
            weakref.finalize(self, self._file.close)
            _write_all(self._file, self._memory)
            self._memory.clear()
        if self._file is None:
            self._memory += data
        else:
            _write_all(self._file, data)
        self.size += len(data)
        self._tell()

    def finish(self) -> None:
        """Mark the body as complete."""
        self.complete = True
        self._tell()

    def cut_short(self) -> None:
        """Mark the body as cut: no more bytes come, and some are missing."""
        self.cut = True
        self._tell()

    def read(self, offset: int, length: int = CHUNK) -> bytes:
        """Return up to `length` bytes from `offset`, empty if there are none yet."""
        if self._file is None:
            return bytes(self._memory[offset : offset + length])
        return os.pread(self._file.fileno(), length, offset)

    def chunks(self) -> Iterator[bytes]:
        """Yield the present bytes piece by piece."""
        offset = 0
        while data := self.read(offset):
            offset += len(data)
            yield data

    def content(self) -> bytes:
        """Return the present bytes in one piece."""
        return bytes(self._memory) if self._file is None else b"".join(self.chunks())

    def _tell(self) -> None:
        for callback in tuple(self.on_growth):
            callback()


def _write_all(file: IO[bytes], data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass(slots=True)
class ResultCache:
    """Results by job. When they take more than `budget` bytes together, the oldest go; the newest always stays."""

    budget: int
    _spools: OrderedDict[str, ResultSpool] = field(default_factory=OrderedDict)
    _size: int = 0

    def put(self, job_id: str, spool: ResultSpool) -> None:
        """Keep a complete result."""
        self.drop(job_id)
        self._spools[job_id] = spool
        self._size += spool.size
        while self._size > self.budget and len(self._spools) > 1:
            _, oldest = self._spools.popitem(last=False)
            self._size -= oldest.size

    def get(self, job_id: str) -> ResultSpool | None:
        """Return the result, None if there is none or it was evicted."""
        return self._spools.get(job_id)

    def drop(self, job_id: str) -> None:
        """Drop what belongs to an evicted job."""
        spool = self._spools.pop(job_id, None)
        if spool is not None:
            self._size -= spool.size


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

    def wait_ended(self, timeout: float | None = None) -> RuntimeJob:
        """Wait for the job's end and return it."""
        return self._ended.result(timeout)[0]
