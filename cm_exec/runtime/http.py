"""HTTP/1.1 as far as a client of the runtime needs it (RFC 9112): a request's head as bytes, a response from bytes.

No I/O: bytes are fed as they come. http.client and urllib3 take 0.3 ms a request, mostly for headers; a job has two
requests, and its process takes 0.9 ms.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from msgspec import Struct, field

LONGEST_HEAD: Final = 64 * 1024
_DIGITS: Final = {10: re.compile(rb"[0-9]{1,15}"), 16: re.compile(rb"[0-9a-fA-F]{1,12}")}


class InvalidResponseError(Exception):
    """Raised when what comes is not an HTTP response."""


class NoResponseError(Exception):
    """Raised when the connection ends before the first byte of a response."""


class IncompleteResponseError(Exception):
    """Raised when the connection ends within a response."""


class Response(Struct, frozen=True):
    """A complete response. Header names are in lower case; `reusable` says whether the connection stays open.

    `lasts_to_end` says that the end of the connection was the end of the body: a crash of the server looks the same.
    """

    status: int
    body: bytes | bytearray | memoryview
    headers: Mapping[str, str] = field(default_factory=dict)
    reusable: bool = True
    lasts_to_end: bool = False


Headers = tuple[tuple[str, str], ...]


def request_head(method: str, target: str, headers: Headers) -> bytes:
    """Return the request line and the headers. Raises ValueError for a value that would break out of its line."""
    return f"{method} {_one_line(target)} HTTP/1.1\r\n".encode("latin-1") + _header_lines(headers)


@lru_cache(maxsize=64)
def _header_lines(headers: Headers) -> bytes:
    """Return the header lines: the same for all polls, and for all results of one size."""
    lines = "".join(f"{_one_line(name)}: {_one_line(value)}\r\n" for name, value in headers)
    return f"{lines}\r\n".encode("latin-1")


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("a header value has a line break")
    return text


class _State(Enum):
    HEAD = auto()
    SIZED = auto()
    """The body has a Content-Length."""
    TO_END = auto()
    """The body lasts until the end of the connection."""
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    OVER = auto()


BodySink = Callable[[bytes], None]
"""Takes a body as it comes."""

OnHead = Callable[[int, Mapping[str, str]], BodySink | None]
"""Called with status and headers of a response; the sink that it returns takes the body, which stays empty then."""


class ResponseReader:
    """Reads one response after another from the bytes of a connection."""

    def __init__(self) -> None:
        self.on_head: OnHead | None = None
        self._rest = b""
        self._begin()

    def _begin(self) -> None:
        self._state = _State.HEAD
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._reusable = True
        self._body: bytes | bytearray | memoryview = b""
        self._received = 0
        self._left = 0
        self._sink: BodySink | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no byte of a next response has come: nobody asked for it yet."""
        return not self._rest and self._state is _State.HEAD

    @property
    def received_body(self) -> memoryview:
        """What has come of the body, without a copy."""
        return memoryview(self._body)[: self._received]

    @property
    def is_in_body(self) -> bool:
        """Whether the body is larger than what has come: more of it is probably near."""
        return self._state is _State.SIZED or self._state is _State.CHUNK

    def feed(self, data: bytes) -> Response | None:
        """Take bytes; return the response when it is complete. Raises InvalidResponseError."""
        if self.is_empty and (response := _small_response(data)) is not None:
            return response if self.on_head is None else _handed_over(response, self.on_head)
        self._rest = self._rest + data if self._rest else data
        while self._step():
            pass
        return self._finish() if self._state is _State.OVER else None

    def end(self) -> Response:
        """Note the end of the connection; return a response that lasts until there.

        Raises NoResponseError, IncompleteResponseError.
        """
        if self._state is _State.TO_END:
            self._reusable = False
            return self._finish(lasts_to_end=True)
        if self.is_empty:
            raise NoResponseError
        raise IncompleteResponseError

    def _finish(self, *, lasts_to_end: bool = False) -> Response:
        response = Response(self._status, self._body, self._headers, self._reusable, lasts_to_end)
        self._begin()
        return response

    def _step(self) -> bool:
        """Consume a part of what has come; return whether there may be more to do."""
        match self._state:
            case _State.HEAD:
                return self._read_head()
            case _State.SIZED | _State.CHUNK:
                return self._read_counted()
            case _State.TO_END:
                return self._read_to_end()
            case _State.OVER:
                return False
        return self._read_line()

    def _read_head(self) -> bool:
        data = self._rest
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > LONGEST_HEAD or (data and not b"HTTP/".startswith(data[:5])):
                raise InvalidResponseError
            return False
        head = _parse_head(data[:end])
        self._rest = data[end + 4 :]
        if head.status < 200 and head.status != 101:  # noqa: PLR2004 - 1xx: more is to come
            return True
        self._status, self._headers, self._reusable = head.status, head.headers, head.reusable
        self._state, self._left = head.framing, head.size
        if self.on_head is not None:
            self._sink = self.on_head(head.status, head.headers)
        if self._state is _State.SIZED and self._left >= HUGE and self._sink is None:
            self._body = _huge_memory(self._left) or b""
        elif self._state is not _State.SIZED and self._state is not _State.OVER:
            self._body = bytearray()
        return True

    def _read_counted(self) -> bool:
        data = self._rest[: self._left]
        self._rest = self._rest[len(data) :]
        if self._state is _State.SIZED and len(data) == self._left and not self._body and self._sink is None:
            self._body, self._received, self._state = data, len(data), _State.OVER
            return False
        self._take(data)
        self._left -= len(data)
        if self._left:
            return False
        self._state = _State.OVER if self._state is _State.SIZED else _State.CHUNK_END
        return True

    def _read_to_end(self) -> bool:
        data, self._rest = self._rest, b""
        self._take(data)
        return False

    def _take(self, data: bytes) -> None:
        if self._sink is not None:
            if data:
                self._sink(data)
            return
        end = self._received + len(data)
        if isinstance(self._body, memoryview):
            self._body[self._received : end] = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(data)
        self._received = end

    def _read_line(self) -> bool:
        end = self._rest.find(b"\r\n")
        if end < 0:
            if len(self._rest) > LONGEST_HEAD:
                raise InvalidResponseError
            return False
        line, self._rest = self._rest[:end], self._rest[end + 2 :]
        if self._state is _State.CHUNK_SIZE:
            self._left = _size(line.partition(b";")[0].strip(), 16)
            self._state = _State.CHUNK if self._left else _State.TRAILER
        elif self._state is _State.CHUNK_END:
            if line:
                raise InvalidResponseError
            self._state = _State.CHUNK_SIZE
        elif not line:
            self._state = _State.OVER
        return True


HUGE: Final = 2 * 1024 * 1024
"""Bytes of a huge page, and of the smallest body that gets them."""


def _huge_memory(size: int) -> memoryview | None:
    """Return memory for a body in huge pages, None if there is none.

    New memory comes in pages of 4 KiB otherwise. That takes more time than all bytes that are copied to it.
    """
    import mmap  # noqa: PLC0415 - most bodies are small

    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, AttributeError, OverflowError):  # too much is claimed, or the system has no huge pages
        return None
    return memoryview(memory)


class _Head(Struct, frozen=True):
    """Status and headers of a response, and how its body is framed; `size` is that of a SIZED body."""

    status: int
    headers: Mapping[str, str]
    reusable: bool
    framing: _State
    size: int


@lru_cache(maxsize=64)
def _parse_head(head: bytes) -> _Head:
    """Parse the status line and the headers. Most responses have the very same head as one before."""
    first, *lines = head.split(b"\r\n")
    version, _, status_and_reason = first.partition(b" ")
    status = status_and_reason[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not status.isdigit():
        raise InvalidResponseError
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise InvalidResponseError
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        if key == "content-length" and headers.get(key, text) != text:
            raise InvalidResponseError  # RFC 9112, section 6.3: not to be repaired
        headers[key] = text
    connection = headers.get("connection", "").lower()
    reusable = "close" not in connection and (version == b"HTTP/1.1" or "keep-alive" in connection)
    framing, size = _framing(int(status), headers)
    return _Head(int(status), headers, reusable, framing, size)


def _small_response(data: bytes) -> Response | None:
    """Return the response if `data` is exactly one: nearly every response comes in one piece."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = _parse_head(data[:end])
    if (
        head.status < 200  # noqa: PLR2004 - 1xx: more is to come
        or head.framing is not (_State.SIZED if head.size else _State.OVER)
        or len(data) != end + 4 + head.size
    ):
        return None
    return Response(head.status, data[end + 4 :], head.headers, head.reusable)


def _handed_over(response: Response, on_head: OnHead) -> Response:
    """Give the body of a whole response to what takes it."""
    sink = on_head(response.status, response.headers)
    if sink is None:
        return response
    if response.body:
        sink(bytes(response.body))
    return Response(response.status, b"", response.headers, response.reusable)


def _framing(status: int, headers: Mapping[str, str]) -> tuple[_State, int]:
    if status in {204, 304}:
        return _State.OVER, 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _State.CHUNK_SIZE, 0
    if "content-length" not in headers:
        return _State.TO_END, 0
    size = _size(headers["content-length"].encode("latin-1"), 10)
    return (_State.SIZED if size else _State.OVER), size


def _size(text: bytes, base: int) -> int:
    if not _DIGITS[base].fullmatch(text):
        raise InvalidResponseError
    return int(text, base)
