"""Jobs of HTTP services: each becomes a request, and its response the result."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from cm_exec.config import Function
from cm_exec.handlers import Completion, Handler, HandlerContext, StderrSink, abortable
from cm_exec.handlers.http_service import HttpService, is_success
from cm_exec.handlers.outcome import failure_of_abort, finish_output
from cm_exec.handlers.spool import LimitedOutput, StreamingSpool
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, JobFailedError, Reason
from cm_exec.runtime.http import BodySink

ERROR_BODY: Final = 4096
"""Bytes of the body of an error response in an error result."""

_EVENT_STREAM: Final = "text/event-stream"
_OTHER_FIELDS: Final = (b"", b"event", b"id", b"retry")
"""The fields of an event besides its data; a comment has none."""


class HttpHandler(Handler):
    """Runs the jobs of one function as requests to its service."""

    def __init__(self, function: Function, context: HandlerContext, service: HttpService) -> None:
        super().__init__(function, context)
        assert function.request is not None  # noqa: S101 - each function of an HTTP service has one
        self._service = service
        self._request = function.request
        self._sends_token = function.credentials or service.service.credentials
        body_type = "Content-Type: application/json\r\n" if self._request.has_body else ""
        self._headers = (
            f"Host: {service.host}\r\nAccept-Encoding: identity\r\n{body_type}"
            f"CM-Query-Type: {_header_text(function.name)}\r\n"
        )

    async def open(self) -> None:
        """Start the server."""
        self._service.open()

    async def wait_until_ready(self) -> None:
        """Return when the server is ready, or was not within its start_timeout."""
        await self._service.first_start_over.wait()

    async def close(self) -> None:
        """End the server."""
        await self._service.close()

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:  # noqa: ARG002 - no stderr
        """Send the query as a request; a 2xx body is the result. See Handler."""
        function = self._function
        response = _Response(function, spool)
        try:
            head, body = self._message(job)
            with abortable(self._context, function, job, spool):
                await self._service.request(function, head, body, response.on_head)
            return Completion(response.failure())
        except JobFailedError as error:
            return Completion(error.failure)
        except TimeoutError:
            self._service.check_soon()
            progress = response.progress()
            return Completion(failure_of_abort(function, Reason.TIMEOUT, progress, spool, process_goes_on=True))

    def _message(self, job: Job) -> tuple[bytes, bytes]:
        """Return head and body of the request. Raises JobFailedError."""
        request = self._request
        path, body = request.path, bytes(job.query) if request.has_body else b""
        if request.path_inputs or request.query or request.body:
            inputs = self._inputs(job.query)
            try:
                for name in request.path_inputs:
                    path = path.replace("{" + name + "}", quote(_text(inputs[name]), safe=""))
                parameters = [(name, _text(v)) for name in request.query for v in _values(inputs.get(name))]
                if request.body:
                    body = bytes(inputs[request.body])
            except KeyError as error:
                raise self._query_error(f"lacks {error.args[0]!r}, which its request needs") from None
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise self._query_error("has a text that is not Unicode") from None
            if parameters:
                path += ("&" if "?" in path else "?") + urlencode(parameters)
        return self._head(job, path, len(body)), body

    def _query_error(self, problem: str) -> JobFailedError:
        message = f"the query of {self._function.name!r} {problem}"
        return JobFailedError(Failure(reason=Reason.INVALID_QUERY, message=message))

    def _head(self, job: Job, path: str, size: int) -> bytes:
        """Return the head of the request. No value in it has a line end: those of the job are checked here."""
        head = f"{self._request.method} {path} HTTP/1.1\r\n{self._headers}CM-Job-Id: {_header_text(job.job_id)}\r\n"
        if job.user_id is not None:
            head += f"CM-User-Id: {_header_text(job.user_id)}\r\n"
        if job.auth_header and self._sends_token:
            self._service.secrets.remember(job)
            head += f"Authorization: {_header_text(job.auth_header)}\r\n"
        if self._request.has_body:
            head += f"Content-Length: {size}\r\n"
        return f"{head}\r\n".encode("latin-1")

    def _inputs(self, query: bytes | memoryview) -> dict[str, msgspec.Raw]:
        """Return the members of the query that are not null, each as its JSON text."""
        try:
            members = msgspec.json.decode(query, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._query_error("is not an object, as its request needs") from None
        whole = self._request.body
        return {name: text for name, text in members.items() if bytes(text) != b"null" or name == whole}


class _Response:
    """Takes a response as it comes: the result of a 2xx, or the beginning of an error's body."""

    def __init__(self, function: Function, spool: StreamingSpool) -> None:
        self._function = function
        self._spool = spool
        self._output = LimitedOutput(spool, function.max_output)
        self._status: int | None = None
        self._error = b""
        self._events = _EventReader() if function.stream == "sse" else None

    def on_head(self, status: int, headers: Mapping[str, str]) -> BodySink:
        """Choose what takes the body. Raises JobFailedError for a compressed one."""
        self._status = status
        if not is_success(status):
            return self._take_error
        coding = headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            message = f"the server of {self._function.name!r} sent a body with Content-Encoding {coding!r}"
            raise JobFailedError(Failure(reason=Reason.INVALID_OUTPUT, message=message))
        media_type = headers.get("content-type", _EVENT_STREAM).partition(";")[0].strip().lower()
        if media_type != _EVENT_STREAM:
            self._events = None  # a result in one piece, as the query may have asked for
        return self._take if self._events is None else self._take_events

    def failure(self) -> Failure | None:
        """Return what is wrong with the complete response."""
        if self._status is None or not is_success(self._status):
            message = f"the server of {self._function.name!r} answered {self._status}"
            return Failure(
                reason=Reason.HTTP_STATUS,
                message=message,
                status=self._status,
                output=self._error,
                output_limit=ERROR_BODY,
            )
        if self._events is not None:
            self._take(self._events.end())
            if self._events.unknown and not self._spool.size:
                message = f"the server of {self._function.name!r} sent a body without events"
                return Failure(reason=Reason.INVALID_OUTPUT, message=message, output=self._events.unknown)
        return finish_output(self._function, self._spool)

    def progress(self) -> str:
        """Say how far the response had come."""
        if self._status is None:
            return "it had sent no response"
        return f"it had sent status {self._status} and {self._spool.size} bytes"

    def _take(self, data: bytes) -> None:
        if data and (problem := self._output.write(data)) is not None:
            raise JobFailedError(failure_of_abort(self._function, *problem, self._spool, process_goes_on=True))

    def _take_error(self, data: bytes) -> None:
        self._error = (self._error + data)[:ERROR_BODY]

    def _take_events(self, data: bytes) -> None:
        assert self._events is not None  # noqa: S101 - for the type checker
        for event in self._events.feed(data):
            self._take(event)


class _EventReader:
    """Reads the data of server-sent events (HTML standard, section 9.2.6)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self.unknown = b""
        """The first line that belongs to no event."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes; return the data of the events that are complete."""
        events: list[bytes] = []
        text = self._rest + chunk
        held = text[-1:] == b"\r"  # the first half of a line end, perhaps
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
            elif line == b"data" or line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line.partition(b":")[0] not in _OTHER_FIELDS:
                self.unknown = self.unknown or line
        return events

    def end(self) -> bytes:
        """Return the data of a last event that no empty line ends."""
        self.feed(b"\n" if self._rest else b"")
        data, self._data = self._data, []
        return b"\n".join(data)


def _text(value: msgspec.Raw) -> str:
    """Return a text as it is, and any other value as its JSON text."""
    text = bytes(value)
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()


def _values(value: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return the values of a parameter: a list repeats it."""
    if value is None:
        return []
    return msgspec.json.decode(value, type=list[msgspec.Raw]) if bytes(value).startswith(b"[") else [value]


def _header_text(text: str) -> str:
    """Return a value as a header can carry it: other characters are percent-encoded."""
    if text.isascii() and text.isprintable():
        return text
    return quote(text, safe=" !#$&'()*+,/:;=?@[]~-._")
