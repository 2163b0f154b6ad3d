"""The end of what a handler writes to stderr."""

from typing import Final

LONGEST: Final = 64 * 1024
"""Bytes."""


class StderrTail:
    """Takes stderr as it comes and keeps its end."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._kept += chunk
        if len(self._kept) > 2 * LONGEST:
            del self._kept[:-LONGEST]

    def getvalue(self) -> bytes:
        """The last 64 KiB."""
        return bytes(self._kept[-LONGEST:])
