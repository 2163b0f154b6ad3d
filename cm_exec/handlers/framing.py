"""How a persistent process is given a query and gives a result: as lines, or as frames. Bytes in, bytes out.

The frames are those of the Language Server Protocol's base protocol: headers, of which Content-Length is needed, an
empty line, and that many bytes.
"""

import re
from typing import Final, Protocol

_LONGEST_HEADER: Final = 8192
_CONTENT_LENGTH: Final = re.compile(
    rb"\A(?:.*\r?\n)?content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*(?:\r?\n|\Z)", re.IGNORECASE | re.DOTALL
)
_NO_HEADER: Final = re.compile(rb"^(?![\w-]+[ \t]*:|\r?$)[^\n]*\n", re.MULTILINE)
"""A line that a process wrote instead of a frame, or before one."""
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")


class OutOfStepError(Exception):
    """The process wrote what it was not asked for; the message says what."""


class ResultReader(Protocol):
    """Takes what a process writes, until its result is whole."""

    def feed(self, chunk: bytes) -> bytes:
        """The part of the result that `chunk` brought. Raises OutOfStepError."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the result is whole."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether anything came at all."""
        ...


def frame_query(framing: str, query: bytes) -> bytes:
    """The query as a process of this framing reads it.

    In JSON a line break can only stand between tokens, so that in a line it becomes a space.
    """
    if framing == "lines":
        return query.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
    return b"Content-Length: %d\r\n\r\n%b" % (len(query), query)


def result_reader(framing: str) -> ResultReader:
    """A reader for one result."""
    return LineReader() if framing == "lines" else FrameReader()


class LineReader:
    """One line; its end is not part of the result."""

    def __init__(self) -> None:
        self.is_complete = False
        self.has_begun = False
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Hold a carriage return back until it is known not to be a part of the line's end."""
        self.has_begun = self.has_begun or bool(chunk)
        line, newline, rest = (self._held + chunk).partition(b"\n")
        if rest or (self.is_complete and chunk):
            raise OutOfStepError("more than one line as a result")
        self.is_complete = self.is_complete or bool(newline)
        self._held = b"\r" if line.endswith(b"\r") else b""
        return line.removesuffix(b"\r")


class FrameReader:
    """One frame."""

    def __init__(self) -> None:
        self.is_complete = False
        self.has_begun = False
        self._header = b""
        self._left: int | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The body's bytes, without the header."""
        self.has_begun = self.has_begun or bool(chunk)
        body = chunk if self._left is not None else self._read_header(chunk)
        if self._left is None:
            return b""
        if len(body) > self._left:
            raise OutOfStepError("more than one frame as a result")
        self._left -= len(body)
        self.is_complete = self._left == 0
        return body

    def _read_header(self, chunk: bytes) -> bytes:
        self._header += chunk
        end = _HEADER_END.search(self._header)
        header = self._header if end is None else self._header[: end.start()] + b"\n"
        if _NO_HEADER.search(header) or len(header) > _LONGEST_HEADER:
            raise OutOfStepError("no Content-Length header before its result")
        if end is None:
            return b""
        found = _CONTENT_LENGTH.search(header)
        if found is None:
            raise OutOfStepError("no Content-Length header before its result")
        self._left = int(found.group(1))
        return self._header[end.end() :]
