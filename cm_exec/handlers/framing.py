"""Messages of a persistent process: as lines or frames, and with or without the envelope. Bytes in, bytes out.

Frames are those of the Language Server Protocol's base protocol: headers, of which Content-Length is required, an
empty line, and that many bytes.
"""

import re
from contextlib import suppress
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.protocol import Job
from cm_exec.protocol.json_text import InvalidJsonError, decode_json, json_problem, member_spans

_LONGEST_HEADER: Final = 8192
_CONTENT_LENGTH: Final = re.compile(
    rb"\A(?:.*\r?\n)?content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*(?:\r?\n|\Z)", re.IGNORECASE | re.DOTALL
)
_NO_HEADER: Final = re.compile(rb"^(?!content-(?:length|type)[ \t]*:|\r?$)[^\n]*\n", re.MULTILINE | re.IGNORECASE)
"""A line that is none of the two headers of the base protocol, such as a warning with a colon."""
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")


class DesyncError(Exception):
    """Raised when a process writes what it was not asked for; the message completes "it wrote ...".

    `output` is what it wrote, if that was not passed on as content.
    """

    def __init__(self, problem: str, output: bytes = b"") -> None:
        super().__init__(problem)
        self.output = output


def frame_message(framing: str, message: bytes | memoryview) -> bytes:
    """Return the message as a process of this framing reads it.

    In JSON a line break can only stand between tokens, so that in a line it becomes a space. U+2028, U+2029 and U+0085
    end a line for some readers (Node's readline, Java's Scanner); in JSON they occur in strings, where an escape means
    the same.
    """
    if framing != "lines":
        return b"".join((b"Content-Length: %d\r\n\r\n" % len(message), message))
    line = b"".join((message, b"\n"))  # the only copy of most queries
    if line.find(b"\n") < len(line) - 1 or b"\r" in line:
        line = line[:-1].replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
    if not line.isascii():
        for separator, escape in _SEPARATORS:
            line = line.replace(separator, escape)
    return line


_SEPARATORS: Final = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


class LineReader:
    """Splits what a process writes into lines; the line's end is not part of the message. `rest` comes after it."""

    def __init__(self) -> None:
        self.is_complete = False
        self.rest = b""
        self._size = 0
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes up to the end of the line; return those that belong to it.

        A carriage return is held back until it is clear whether it ends the line.
        """
        if self.is_complete:
            self.rest += chunk
            return b""
        line, newline, self.rest = (self._held + chunk).partition(b"\n")
        self.is_complete = bool(newline)
        self._size += len(line)
        self._held = b"\r" if not newline and line.endswith(b"\r") else b""
        return line.removesuffix(b"\r")

    def next(self) -> bytes:
        """Begin the next line; return the bytes that came after the last one."""
        rest, self.rest = self.rest, b""
        self.is_complete = False
        self._size = 0
        return rest

    def progress(self) -> str:
        """Say how much of a line has come; nothing for nothing."""
        return f"{self._size} bytes and no line end" if self._size else ""


class FrameReader:
    """Splits what a process writes into frames; the headers are not part of the message. `rest` comes after it."""

    def __init__(self) -> None:
        self.rest = b""
        self._header = b""
        self._size: int | None = None
        self._left = 0

    @property
    def is_complete(self) -> bool:
        """Whether the frame is complete."""
        return self._size is not None and not self._left

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes up to the end of the frame; return those that belong to its content. Raises DesyncError."""
        body = chunk if self._size is not None else self._read_header(chunk)
        if self._size is None:
            return b""
        content, behind = body[: self._left], body[self._left :]
        self.rest += behind
        self._left -= len(content)
        return content

    def next(self) -> bytes:
        """Begin the next frame; return the bytes that came after the last one."""
        rest, self.rest = self.rest, b""
        self._header, self._size = b"", None
        return rest

    def progress(self) -> str:
        """Say how much of a frame has come, such as "7 of 9 bytes of its frame"; nothing for nothing."""
        if self._size is not None:
            return f"{self._size - self._left} of {self._size} bytes of its frame"
        return f"{len(self._header)} bytes of a frame's header" if self._header else ""

    def _read_header(self, chunk: bytes) -> bytes:
        self._header += chunk
        end = _HEADER_END.search(self._header)
        header = self._header if end is None else self._header[: end.start()] + b"\n"
        if _NO_HEADER.search(header) or len(header) > _LONGEST_HEADER:
            raise DesyncError("no Content-Length header before its result", self._header)
        if end is None:
            return b""
        found = _CONTENT_LENGTH.search(header)
        if found is None:
            raise DesyncError("no Content-Length header before its result", self._header)
        self._size = self._left = int(found.group(1))
        return self._header[end.end() :]


MessageReader = LineReader | FrameReader


def message_reader(framing: str) -> MessageReader:
    """Return a reader for messages of this framing."""
    return LineReader() if framing == "lines" else FrameReader()


def wrap_query(job: Job, *, credentials: bool) -> bytes:
    """Return `{"jobId", "queryType", "userId", "query"}`, the query byte for byte; `credentials` adds the tokens."""
    members: dict[str, str | None] = {"jobId": job.job_id, "queryType": job.query_type, "userId": job.user_id}
    if credentials:
        members["authHeader"] = job.auth_header
        members["temporaryCredentialsAuthToken"] = job.temporary_credentials_auth_token
    return msgspec.json.encode(members)[:-1] + b',"query":' + job.query + b"}"


Kind = Literal["result", "error", "chunk", "end", "log", "ready"]


class Message(Struct, frozen=True):
    """One message of a service in the envelope; `job_id` is empty for `ready`."""

    kind: Kind
    job_id: str = ""
    content: bytes = b""


class _Wire(Struct, rename="camel"):
    job_id: str | msgspec.UnsetType = msgspec.UNSET
    end: bool = False
    ready: bool = False
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    chunk: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    log: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_CONTENTS: Final[tuple[Kind, ...]] = ("result", "error", "chunk", "log")
_MOST_UNUSUAL: Final = 1024 * 1024
"""Bytes of a message that is looked at without msgspec, at 10 MB a second: a larger one would hold the loop."""
_OTHERS: Final = ("jobId", "end", "ready")
_decode: Final = msgspec.json.Decoder(_Wire).decode


def parse_message(text: bytes) -> Message:
    """Read one message in the envelope. Raises DesyncError."""
    if not text.strip():
        raise DesyncError("an empty message")
    try:
        wire = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        wire = _decode_unusual(text)
    if wire.job_id is msgspec.UNSET:
        if wire.ready:
            return Message("ready")
        raise DesyncError("a message without a jobId")
    contents = [(kind, bytes(part)) for kind in _CONTENTS if (part := getattr(wire, kind)) is not msgspec.UNSET]
    if wire.end:
        contents.append(("end", b""))
    if not contents:
        raise DesyncError("a jobId without a result")
    if len(contents) > 1:
        raise DesyncError("a message with more than one of result, error, chunk, end and log")
    kind, content = contents[0]
    return Message(kind, wire.job_id, _text(content) if kind == "log" else content)


def _decode_unusual(text: bytes) -> _Wire:
    """Read a message whose content is JSON that msgspec refuses: half a surrogate pair, deep nesting.

    Raises DesyncError.
    """
    try:
        if len(text) <= _MOST_UNUSUAL and json_problem(text) is None:
            members = {name: text[start:end] for name, (start, end) in member_spans(text).items()}
            contents = {kind: msgspec.Raw(members.pop(kind)) for kind in _CONTENTS if kind in members}
            others = b",".join(b'"%b":%b' % (name.encode(), members[name]) for name in _OTHERS if name in members)
            return replace(_decode(b"{%b}" % others), **contents)
    except (msgspec.MsgspecError, ValueError):
        pass
    raise DesyncError("something that is not a message with the envelope")


def _text(content: bytes) -> bytes:
    with suppress(InvalidJsonError):
        text = decode_json(content)
        if isinstance(text, str):
            return text.encode(errors="replace")
    raise DesyncError("a log that is not a text")
