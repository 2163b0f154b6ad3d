"""Results of jobs: their bytes while they come and after, and the cache that keeps them for the history."""

import os
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

IN_MEMORY: Final = 256 * 1024
CHUNK: Final = 256 * 1024


class ResultSpool:
    """Bytes that are appended by one writer and read by any number of readers, from any thread once complete.

    `complete` is set by `finish`, `cut` by `cut_short`; `on_growth` is called after each change. The file is
    unlinked from the start and closed with the last reference, so that nothing is left on the disk.
    """

    def __init__(self, folder: Path, *, in_memory: int = IN_MEMORY) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._memory = bytearray()
        self._file: int | None = None
        self.size = 0
        self.complete = False
        self.cut = False
        self.on_growth: list[Callable[[], None]] = []

    def append(self, data: bytes) -> None:
        """Add to the end."""
        if self._file is None and self.size + len(data) > self._in_memory:
            self._file = self._open_file()
        if self._file is None:
            self._memory += data
        else:
            _write_all(self._file, data, self.size)
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
        return os.pread(self._file, length, offset)

    def chunks(self) -> Iterator[bytes]:
        """Yield the present bytes piece by piece."""
        offset = 0
        while data := self.read(offset):
            offset += len(data)
            yield data

    def content(self) -> bytes:
        """Return the present bytes in one piece."""
        return bytes(self._memory) if self._file is None else b"".join(self.chunks())

    def _open_file(self) -> int:
        descriptor, name = tempfile.mkstemp(prefix="result-", dir=self._folder)
        os.unlink(name)  # noqa: PTH108 - the name is a string and goes at once
        weakref.finalize(self, os.close, descriptor)
        _write_all(descriptor, self._memory, 0)
        self._memory.clear()
        return descriptor

    def _tell(self) -> None:
        for callback in tuple(self.on_growth):
            callback()


def _write_all(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset += written
        view = view[written:]


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
