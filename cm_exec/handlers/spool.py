"""A result as it is produced: kept so that a post can be repeated, without keeping it in memory."""

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
        self._memory: list[bytes] = []
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises OSError when the temporary file cannot take it."""
        self.size += len(chunk)
        if self._file is None and self._directory is not None and self.size > MEMORY_LIMIT:
            self._move_to_file(self._directory)
        if self._file is None:
            self._memory.append(chunk)
        else:
            _write_all(self._file, chunk)

    def chunks(self) -> Iterator[bytes]:
        """The result from its start, in blocks that are never all in memory at once."""
        if self._file is None:
            yield from self._memory
            return
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block

    def getvalue(self) -> bytes:
        """The whole result at once."""
        return b"".join(self.chunks())

    def clear(self) -> None:
        """Forget what was written."""
        self.size = 0
        self._memory.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    close = clear

    def _move_to_file(self, directory: str) -> None:
        from tempfile import TemporaryFile  # noqa: PLC0415 - costs 5 ms and most results are small

        self._file = TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - closed by close()
        for chunk in self._memory:
            _write_all(self._file, chunk)
        self._memory.clear()


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    """A disk that is nearly full takes a part and says so; only the next write raises."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def spool_directory() -> str | None:
    """The folder for temporary files, None where there is no writable one (a read-only root)."""
    from tempfile import gettempdir  # noqa: PLC0415 - see above

    try:
        return gettempdir()
    except OSError:
        return None
