"""The result of one job while it is written and posted: in memory, and in a temporary file if it is large."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import IO, Final

from cm_exec.protocol.failure import Reason, StreamAbortedError

MEMORY_LIMIT: Final = 1024 * 1024
"""Bytes of a result that stay in memory; a larger one moves to a temporary file."""

_BLOCK: Final = 128 * 1024  # a larger buffer is mapped again each time, see limit_mmap_threshold


class Spool:
    """The bytes of one result: written once, read as often as a post is repeated.

    `directory` is the folder of the temporary file, which has no name there; None keeps everything in memory. So does
    a file that cannot be had or that the disk does not take: the handler's max_output limits the memory then.
    """

    def __init__(self, directory: str | None) -> None:
        self.size = 0
        self._directory = directory
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises MemoryError."""
        size = self.size + len(chunk)
        if self._file is None and self._directory is not None and size > MEMORY_LIMIT:
            self._open_file(self._directory)
        if self._file is None or not self._write_to_file(chunk):
            self._memory += chunk
        self.size = size

    def read_at(self, offset: int) -> bytes:
        """Return a block from `offset` on, nothing at the end."""
        if self._file is None:
            return bytes(self._memory[offset : offset + _BLOCK])
        return os.pread(self._file.fileno(), _BLOCK, offset)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the result in blocks."""
        offset = 0
        while block := self.read_at(offset):
            yield block
            offset += len(block)

    def getvalue(self) -> bytes:
        """Return the whole result."""
        if self._file is None:
            return bytes(self._memory)
        value = os.pread(self._file.fileno(), self.size, 0)
        return value if len(value) == self.size else b"".join(self.chunks())  # more than 2 GiB

    def clear(self) -> None:
        """Remove what was written."""
        self.size = 0
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    close = clear

    def _open_file(self, directory: str) -> None:
        from tempfile import TemporaryFile  # noqa: PLC0415 - costs 5 ms, and most results are small

        try:
            self._file = TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - closed by close()
        except OSError:
            self._directory = None
            return
        if self._write_to_file(self._memory):
            self._memory = bytearray()

    def _write_to_file(self, chunk: bytes | bytearray) -> bool:
        """Append to the file; where the disk is full, move everything back to memory and return False."""
        assert self._file is not None  # noqa: S101 - for the type checker
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            # if the move to the file has failed, the memory still has everything
            kept = self._memory or bytearray(os.pread(self._file.fileno(), self.size, 0))
            self._file.close()
            self._file = self._directory = None
            self._memory = kept
            return False
        return True


class StreamingSpool(Spool):
    """A spool that one task reads while another writes."""

    def __init__(self, directory: str | None) -> None:
        super().__init__(directory)
        self._complete: bool | None = None
        self._changed: asyncio.Future[None] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk` and wake the reader."""
        super().write(chunk)
        self._wake()

    def finish(self, *, ok: bool) -> None:
        """Mark the end: the result is complete, or never will be."""
        self._complete = ok
        self._wake()

    async def begins(self) -> bool:
        """Wait for the first byte or the end; return whether there is a byte."""
        while not self.size and self._complete is None:
            await self._change()
        return self.size > 0

    async def live_chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the result as it comes. Raises StreamAbortedError if it ends incomplete."""
        offset = 0
        while True:
            if block := self.read_at(offset):
                offset += len(block)
                yield block
            elif self._complete is None:
                await self._change()
            elif self._complete:
                return
            else:
                raise StreamAbortedError

    async def _change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


def spool_directory() -> str | None:
    """Return the folder for temporary files, None if there is no writable one (a read-only root)."""
    from tempfile import gettempdir  # noqa: PLC0415 - see above

    try:
        return gettempdir()
    except OSError:
        return None


class LimitedOutput:
    """Writes a result to its spool, up to the function's max_output in bytes."""

    def __init__(self, spool: Spool, limit: int) -> None:
        self.spool = spool
        self._limit = limit

    def write(self, chunk: bytes) -> tuple[Reason, str] | None:
        """Append `chunk`; return the reason and a detail if that is not possible."""
        if self.spool.size + len(chunk) > self._limit:
            return Reason.OUTPUT_LIMIT, ""
        try:
            self.spool.write(chunk)
        except MemoryError:
            return Reason.OUTPUT_LIMIT, "there is not enough memory for it"
        return None
