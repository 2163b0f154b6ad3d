"""HTTP/1.1 as far as the runtime needs it (RFC 9112): a request's head as bytes, an answer from bytes. No I/O.

http.client and urllib3 take 0.3 ms a request, mostly for headers; a job has two requests and its process takes 0.9 ms.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct, field

LONGEST_HEAD: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_GROWTH: Final = 8 * 1024 * 1024
_DIGITS: Final = {10: re.compile(rb"[0-9]{1,15}"), 16: re.compile(rb"[0-9a-fA-F]{1,12}")}


class NotHttpError(Exception):
    """What came back is not an HTTP answer."""


class NoAnswerError(Exception):
    """The connection ended before the first byte of an answer."""


class BrokenOffError(Exception):
    """The connection ended within an answer; `partial` is what came of its body."""

    def __init__(self, partial: bytes, why: str = "the connection ended") -> None:
        super().__init__(f"{why} within the answer")
        self.partial = partial


class Answer(Struct, frozen=True):
    """A whole answer. Header names are in lower case; `reusable` tells whether the connection stays open."""

    status: int
    body: bytes | bytearray
    headers: Mapping[str, str] = field(default_factory=dict)
    reusable: bool = True


Headers = tuple[tuple[str, str], ...]


def request_head(method: str, target: str, *headers: tuple[str, str]) -> bytes:
    """The request line and the headers. Raises ValueError for a value that would break out of its line."""
    return f"{method} {_one_line(target)} HTTP/1.1\r\n".encode("latin-1") + _header_lines(headers) + b"\r\n"


@lru_cache(maxsize=64)
def _header_lines(headers: Headers) -> bytes:
    """The same for all polls, and for all results of one size."""
    return "".join(f"{_one_line(name)}: {_one_line(value)}\r\n" for name, value in headers).encode("latin-1")


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("a header value has a line break")
    return text


class AnswerReader:
    """Reads answers from `receive`, which returns at most that many bytes, and none at the end of the stream.

    `receive_into` fills a buffer as far as it can, which spares a copy of a large body.
    """

    def __init__(self, receive: Callable[[int], bytes], receive_into: Callable[[memoryview], int]) -> None:
        self._receive = receive
        self._receive_into = receive_into
        self._rest = b""

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands behind the last answer: it would be taken for the answer to the next request."""
        return not self._rest

    def read(self) -> Answer:
        """The next answer, interim ones passed over. Raises NoAnswerError, BrokenOffError, NotHttpError."""
        while True:
            version, status, headers = self._read_head()
            if status >= 200 or status == 101:  # noqa: PLR2004 - 1xx: more is to come
                break
        connection = headers.get("connection", "").lower()
        reusable = "close" not in connection and (version == b"HTTP/1.1" or "keep-alive" in connection)
        if status in {204, 304}:
            return Answer(status, b"", headers, reusable)
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return Answer(status, self._read_chunked(), headers, reusable)
        if "content-length" in headers:
            return Answer(
                status, self._read_exactly(_size(headers["content-length"].encode("latin-1"), 10)), headers, reusable
            )
        return Answer(status, self._read_to_end(), headers, reusable=False)

    def _read_head(self) -> tuple[bytes, int, Mapping[str, str]]:
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > LONGEST_HEAD or (data and not b"HTTP/".startswith(data[:5])):
                raise NotHttpError
            more = self._receive(_CHUNK)
            if not more:
                raise BrokenOffError(b"") if data else NoAnswerError
            data += more
        self._rest = data[end + 4 :]
        return _parse_head(data[:end])

    def _read_exactly(self, size: int) -> bytes | bytearray:
        if len(self._rest) >= size:
            body, self._rest = self._rest[:size], self._rest[size:]
            return body
        buffer = bytearray(self._rest)
        self._rest = b""
        while (at := len(buffer)) < size:
            buffer += bytes(min(size - at, _GROWTH))  # as it comes: a length is only a claim
            while at < len(buffer):
                at += self._fill(buffer, at)
        return buffer

    def _fill(self, buffer: bytearray, at: int) -> int:
        with memoryview(buffer) as view:
            try:
                received = self._receive_into(view[at:])
            except OSError as error:
                raise BrokenOffError(bytes(view[:at]), _why(error)) from error
            if not received:
                raise BrokenOffError(bytes(view[:at]))
        return received

    def _read_chunked(self) -> bytes:
        blocks: list[bytes | bytearray] = []
        try:
            while size := _size(self._read_line().partition(b";")[0].strip(), 16):
                blocks.append(self._read_exactly(size))
                if self._read_line():
                    raise NotHttpError
            while self._read_line():
                pass  # trailers
        except BrokenOffError as error:
            error.partial = b"".join([*blocks, error.partial])
            raise
        return b"".join(blocks)

    def _read_line(self) -> bytes:
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > LONGEST_HEAD:
                raise NotHttpError
            more = self._receive_more(b"")
            if not more:
                raise BrokenOffError(b"")
            self._rest += more
        line, self._rest = self._rest[:end], self._rest[end + 2 :]
        return line

    def _read_to_end(self) -> bytes:
        body = self._rest
        self._rest = b""
        while more := self._receive_more(body):
            body += more
        return body

    def _receive_more(self, before: bytes) -> bytes:
        try:
            return self._receive(_CHUNK)
        except OSError as error:
            raise BrokenOffError(before, _why(error)) from error


def _why(error: OSError) -> str:
    return "nothing more came" if isinstance(error, TimeoutError) else "the connection broke"


@lru_cache(maxsize=64)
def _parse_head(head: bytes) -> tuple[bytes, int, Mapping[str, str]]:
    """Version, status and headers. Most answers have the very same head as one before."""
    first, *lines = head.split(b"\r\n")
    version, _, status_and_reason = first.partition(b" ")
    status = status_and_reason[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not status.isdigit():
        raise NotHttpError
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise NotHttpError
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        if key == "content-length" and headers.get(key, text) != text:
            raise NotHttpError  # RFC 9112, section 6.3: not to be repaired
        headers[key] = text
    return version, int(status), headers


def _size(text: bytes, base: int) -> int:
    if not _DIGITS[base].fullmatch(text):
        raise NotHttpError
    return int(text, base)
