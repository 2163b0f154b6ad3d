"""A result as it is produced: kept so that a post can be repeated, without keeping it in memory."""

import os
import threading
from collections.abc import Iterator
from typing import IO, Final

MEMORY_LIMIT: Final = 1024 * 1024
"""Bytes of a result that stay in memory; what goes beyond moves to a temporary file."""

_BLOCK: Final = 256 * 1024


class Spool:
    """The bytes of one result: written once, read as often as a post is repeated.

    `directory` is where the temporary file goes (it has no name there); None keeps everything in memory.
    """

    def __init__(self, directory: str | None) -> None:
        self.size = 0
        self._directory = directory
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises OSError when the temporary file cannot take it."""
        size = self.size + len(chunk)
        if self._file is None and self._directory is not None and size > MEMORY_LIMIT:
            self._move_to_file(self._directory)
        if self._file is None:
            self._memory += chunk
        else:
            _write_all(self._file, chunk)
        self.size = size

    def read_at(self, offset: int) -> bytes:
        """A block from `offset` on; nothing at the end."""
        if self._file is None:
            return bytes(self._memory[offset : offset + _BLOCK])
        return os.pread(self._file.fileno(), _BLOCK, offset)

    def chunks(self) -> Iterator[bytes]:
        """The result from its start, in blocks that are never all in memory at once."""
        offset = 0
        while block := self.read_at(offset):
            yield block
            offset += len(block)

    def getvalue(self) -> bytes:
        """The whole result at once."""
        return bytes(self._memory) if self._file is None else b"".join(self.chunks())

    def clear(self) -> None:
        """Forget what was written."""
        self.size = 0
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    close = clear

    def _move_to_file(self, directory: str) -> None:
        from tempfile import TemporaryFile  # noqa: PLC0415 - costs 5 ms and most results are small

        self._file = TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - closed by close()
        _write_all(self._file, self._memory)
        self._memory = bytearray()


def _write_all(file: IO[bytes], chunk: bytes | bytearray) -> None:
    """A disk that is nearly full takes a part and says so; only the next write raises."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


class CutOffError(Exception):
    """The result that was being read will never be whole."""


class LiveSpool(Spool):
    """A spool that one thread reads while another writes."""

    def __init__(self, directory: str | None) -> None:
        super().__init__(directory)
        self._changed = threading.Condition()
        self._ended: bool | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk` and let the reader know."""
        with self._changed:
            super().write(chunk)
            self._changed.notify_all()

    def end(self, *, well: bool) -> None:
        """Nothing more comes; the result is whole, or never will be."""
        with self._changed:
            self._ended = well
            self._changed.notify_all()

    def wait_for_begin(self) -> bool:
        """Wait for the first byte or the end; whether there is a byte."""
        with self._changed:
            self._changed.wait_for(lambda: self.size or self._ended is not None)
            return self.size > 0

    def live_chunks(self) -> Iterator[bytes]:
        """The result as it comes. Raises CutOffError where it ends badly."""
        offset = 0
        while block := self._wait_at(offset):
            yield block
            offset += len(block)

    def _wait_at(self, offset: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self.size > offset or self._ended is not None)
            if self.size > offset:
                return self.read_at(offset)
        if not self._ended:
            raise CutOffError
        return b""


def spool_directory() -> str | None:
    """The folder for temporary files, None where there is no writable one (a read-only root)."""
    from tempfile import gettempdir  # noqa: PLC0415 - see above

    try:
        return gettempdir()
    except OSError:
        return None
