"""Services that are HTTP servers: started, watched and called by the loop."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from cm_exec.config.model import Function, HttpRequest, ServerAddress, Service
from cm_exec.handlers.base import Completion, HandlerContext, StderrSink
from cm_exec.handlers.environment import service_environment
from cm_exec.handlers.outcome import LimitedOutput, ProcessExit, StderrTail, failure_of_exit, finish_output
from cm_exec.handlers.spool import Spool, StreamingSpool
from cm_exec.handlers.stderr_log import StderrLogger
from cm_exec.processes.child import Child, Command, NotStartedError
from cm_exec.processes.termination import terminate_all
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.job import Job
from cm_exec.runtime.connection import Connection
from cm_exec.runtime.errors import RequestError
from cm_exec.runtime.http import BodySink, Headers, OnHead, request_head

log: Final = logging.getLogger("cm_exec.handler")

_READ_SIZE: Final = 64 * 1024
_FIRST_LOOK: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_LONGEST_RESTART_PAUSE: Final = 30.0
_CHECK_SECONDS: Final = 5.0
_REUSE_SECONDS: Final = 1.0
"""Idle seconds after which a connection is not used again: the server may close it while a request is sent."""

_NO_LIMIT: Final = 24 * 3600.0
_EXIT_GRACE: Final = 0.25
"""Seconds in which the exit of a server is seen after its connection broke."""

ERROR_BODY: Final = 4096


class HttpService:
    """One HTTP server, shared by the functions that it serves. It is started here, or by something else."""

    def __init__(self, service: Service, context: HandlerContext) -> None:
        self.service = service
        self._context = context
        self._environment = service_environment(service, context.environment)
        self._address = service.address or ServerAddress()
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._status: int | None = None
        self._stderr_tail = StderrTail()
        self._loggers: tuple[StderrLogger, ...] = ()
        self._ready = asyncio.Event()
        self.first_start_over = asyncio.Event()
        """Set when the server is ready for the first time, or was not within its start_timeout."""
        self._problem = "it was not started yet"
        self._exited = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._idle: list[tuple[float, Connection]] = []
        self._slots = asyncio.Semaphore(service.jobs_per_process)
        self._users = 0

    def open(self) -> None:
        """Start the server, for the first function that uses it."""
        self._users += 1
        if self._users == 1:
            self._supervisor = self._loop.create_task(self._supervise())

    async def close(self) -> None:
        """End the server, after the last function."""
        self._users -= 1
        if self._users or self._supervisor is None:
            return
        self._supervisor.cancel()
        await asyncio.wait((self._supervisor,))
        self._close_idle()

    async def request(self, function: Function, head: bytes, body: bytes, on_head: OnHead) -> None:
        """Send one request when the server is ready; its response goes to `on_head`.

        Raises RequestError, ServerError, TimeoutError. The time runs from the moment at which the server is ready.
        """
        await self._wait_until_ready()
        async with self._slots:
            async with asyncio.timeout(function.timeout):
                connection = await self._connection()
                try:
                    await connection.request(head + body, None, _NO_LIMIT, on_head)
                except RequestError as error:
                    raise await self._explained(function, error) from error
            if connection.is_open:
                self._idle.append((self._loop.time(), connection))

    def check_soon(self) -> None:
        """Check after a timeout whether the server still works, and restart it if not."""
        if self._supervisor is not None and self._ready.is_set():
            self._ready.clear()
            self._exited.set()

    # The life of the server

    async def _supervise(self) -> None:
        """Start the server and keep it running, with pauses that grow while it does not become ready."""
        pause = 0.2
        try:
            while True:
                self._exited.clear()
                began = self._loop.time()
                if self._child is None and self.service.argv:
                    self._start_child()
                if await self._becomes_ready(began + (self.service.start_timeout or _NO_LIMIT)):
                    pause = 0.2
                    self._ready.set()
                    self.first_start_over.set()
                    await self._exited.wait()
                    self._ready.clear()
                    self._close_idle()
                    if self._status is None and await self._is_ready():
                        continue  # a job has timed out, and the server works
                else:
                    self.first_start_over.set()
                    log.warning("service %r is not ready: %s", self.service.name, self._problem)
                await self._end_child()
                await asyncio.sleep(pause)
                pause = min(_LONGEST_RESTART_PAUSE, pause * 2)
        finally:
            await self._end_child()

    def _start_child(self) -> None:
        service = self.service
        command = Command(argv=service.argv, env=self._environment, cwd=service.cwd)
        self._status = None
        try:
            child = Child(command, self._context.trees)
        except NotStartedError as error:
            self._problem = str(error)
            return
        child.close_stdin()
        tags = {"function": service.name}
        self._child, self._loggers = child, (StderrLogger(tags), StderrLogger(tags))
        child.exit_watch.start(self._loop, self._child_exited)
        for fd, logger in zip((child.result, child.stderr), self._loggers, strict=True):
            self._loop.add_reader(fd, self._read_log, fd, logger)

    def _read_log(self, fd: int, logger: StderrLogger) -> None:
        try:
            chunk = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return
        if chunk:
            self._stderr_tail.write(chunk)
            logger.write(chunk)
        else:
            logger.flush()
            self._loop.remove_reader(fd)

    def _child_exited(self) -> None:
        if self._child is not None and (status := self._child.exit_status()) is not None:
            self._status = status
            self._child.exit_watch.stop(self._loop)
            self._problem = f"the server ended with status {status}"
            self._exited.set()

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.exit_watch.stop(self._loop)
        for fd in (child.result, child.stderr):
            self._loop.remove_reader(fd)
        await asyncio.shield(self._loop.create_task(terminate_all([child], self._context.graces)))

    async def _becomes_ready(self, deadline: float) -> bool:
        """Wait until the readiness check passes; return False if it does not in time, or the server ends before."""
        pause = _FIRST_LOOK
        while self._loop.time() < deadline:
            if self.service.argv and self._child is None:
                return False  # it cannot be started
            if self._status is not None:
                return False
            if await self._is_ready():
                return self._status is None
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        self._problem = f"it was not ready within its start_timeout of {self.service.start_timeout:g} s"
        return False

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                connection = await self._connect()
                try:
                    if not self.service.ready.startswith("/"):
                        return True
                    head = request_head("GET", self.service.ready, (("Host", self._host),))
                    return (await connection.request(head, None, _CHECK_SECONDS)).status < 400  # noqa: PLR2004
                finally:
                    connection.close()
        except (OSError, RequestError):
            return False

    async def _wait_until_ready(self) -> None:
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(self.service.start_timeout or None):
                    await self._ready.wait()
            except TimeoutError:
                message = f"the server of {self.service.name!r} is not ready: {self._problem}"
                failure = Failure(reason=Reason.NOT_STARTED, message=message, stderr=self._stderr_tail.getvalue())
                raise ServerError(failure) from None

    # Connections

    @property
    def _host(self) -> str:
        return "localhost" if self._address.socket else f"{self._address.host}:{self._address.port}"

    def headers(self) -> Headers:
        """Return the headers that every request has."""
        return (("Host", self._host),)

    async def _connection(self) -> Connection:
        while self._idle:
            since, connection = self._idle.pop()
            if self._loop.time() - since < _REUSE_SECONDS and connection.is_reusable():
                return connection
            connection.close()
        try:
            return await self._connect()
        except OSError as error:
            message = f"cannot connect to the server of {self.service.name!r}: {(error.strerror or str(error)).lower()}"
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                message = f"cannot connect to the server of {self.service.name!r}: no free file descriptor"
            raise ServerError(Failure(reason=Reason.NOT_STARTED, message=message)) from None

    async def _connect(self) -> Connection:
        address = self._address
        family = socket.AF_UNIX if address.socket else socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if address.socket:
                await self._loop.sock_connect(sock, address.socket)
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                host = "127.0.0.1" if address.host == "localhost" else address.host
                await self._loop.sock_connect(sock, (host, address.port))
        except BaseException:
            sock.close()
            raise
        return Connection(sock, self._host)

    def _close_idle(self) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _explained(self, function: Function, error: RequestError) -> "ServerError":
        """Return the exit of the server if that is why the connection broke, else that it broke."""
        give_up = self._loop.time() + (_EXIT_GRACE if self.service.argv else 0.0)
        while self._status is None and self._loop.time() < give_up:  # noqa: ASYNC110 - a few looks, after a failure
            await asyncio.sleep(0.01)
        stderr = self._stderr_tail.getvalue()
        if self._status:
            ended = failure_of_exit(function, ProcessExit(status=self._status, stderr=stderr), Spool(None))
            if ended is not None:
                return ServerError(ended)
        if self._status == 0:
            message = f"the server of {function.name!r} ended without a response"
            return ServerError(Failure(reason=Reason.EXIT, message=message, exit_code=0, stderr=stderr))
        message = f"the server of {function.name!r} sent no complete response: {error}"
        return ServerError(Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=stderr))


class ServerError(Exception):
    """Raised to a job that the server cannot answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class HttpHandler:
    """Runs the jobs of one function as requests to its service."""

    def __init__(self, function: Function, context: HandlerContext, service: HttpService) -> None:
        self._function = function
        self._context = context
        self._service = service
        self._request = function.request or HttpRequest(method="POST", path=f"/{quote(function.name, safe='')}")
        self.streams = bool(function.stream)

    async def open(self) -> None:
        """Start the server."""
        self._service.open()

    async def wait_until_ready(self) -> None:
        """Return when the server is ready, or was not within its start_timeout."""
        await self._service.first_start_over.wait()

    async def close(self) -> None:
        """End the server."""
        await self._service.close()

    def new_spool(self) -> StreamingSpool:
        """Return an empty spool."""
        return self._context.new_spool()

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:  # noqa: ARG002 - no stderr
        """Send the query as a request; a 2xx body is the result. See Handler."""
        function = self._function
        task = asyncio.current_task()
        aborted: list[tuple[Reason, str]] = []

        def abort(reason: Reason, detail: str) -> None:
            aborted.append((reason, detail))
            if task is not None:
                task.cancel()

        self._context.running[job.job_id] = abort
        response = _Response(function, spool)
        try:
            head, body = self._message(job)
            await self._service.request(function, head, body, response.on_head)
            return Completion(response.failure())
        except ServerError as error:
            return Completion(error.failure)
        except _QueryError as error:
            return Completion(Failure(reason=Reason.INVALID_QUERY, message=str(error)))
        except TimeoutError:
            self._service.check_soon()
            return Completion(_ended(function, Reason.TIMEOUT, response.progress(), spool))
        except _TooMuchError as error:
            return Completion(_ended(function, *error.problem, spool))
        except asyncio.CancelledError:
            if not aborted:
                raise
            return Completion(_ended(function, *aborted[0], spool))
        finally:
            self._context.running.pop(job.job_id, None)

    def _message(self, job: Job) -> tuple[bytes, bytes]:
        """Return head and body of the request. Raises _QueryError."""
        request = self._request
        members: dict[str, msgspec.Raw] = {}
        names = (*request.path_inputs, *request.query)
        try:
            if names or request.body is not None:
                members = msgspec.json.decode(job.query, type=dict[str, msgspec.Raw])
            inputs = {name: msgspec.json.decode(members.get(name, b"null")) for name in names}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = f"the query of {self._function.name!r} is not an object, as its request needs"
            raise _QueryError(message) from None
        path = request.path
        for name in request.path_inputs:
            if inputs.get(name) is None:
                raise _QueryError(f"the query of {self._function.name!r} lacks {name!r}, which its path needs")
            path = path.replace("{" + name + "}", quote(_text(inputs[name]), safe=""))
        parameters = [(name, _text(v)) for name in request.query for v in _values(inputs.get(name))]
        if parameters:
            path += ("&" if "?" in path else "?") + urlencode(parameters)
        body = job.query if request.has_body else b""
        if request.body is not None:
            body = bytes(members.get(request.body, b"null"))
        return request_head(request.method, path, self._headers(job, body, has_body=request.has_body)), body

    def _headers(self, job: Job, body: bytes, *, has_body: bool) -> Headers:
        headers = [
            *self._service.headers(),
            ("CM-Job-Id", _header_text(job.job_id)),
            ("CM-Query-Type", _header_text(job.query_type)),
        ]
        if job.user_id is not None:
            headers.append(("CM-User-Id", _header_text(job.user_id)))
        if job.auth_header and self._function.credentials:
            headers.append(("Authorization", _header_text(job.auth_header)))
        if has_body:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return tuple(headers)


class _QueryError(Exception):
    """Raised when a query cannot become a request."""


class _TooMuchError(Exception):
    """Raised when a response is larger than max_output."""

    def __init__(self, problem: tuple[Reason, str]) -> None:
        super().__init__(problem)
        self.problem = problem


class _Response:
    """Takes a response as it comes: the result of a 2xx, or the beginning of an error's body."""

    def __init__(self, function: Function, spool: StreamingSpool) -> None:
        self._function = function
        self._spool = spool
        self._output = LimitedOutput(spool, function.max_output)
        self._status: int | None = None
        self._error = b""
        self._events = _EventReader()

    def on_head(self, status: int, _headers: Mapping[str, str]) -> BodySink:
        """Choose what takes the body."""
        self._status = status
        if not 200 <= status < 300:  # noqa: PLR2004 - the 2xx class
            return self._take_error
        return self._take_events if self._function.stream == "sse" else self._take

    def failure(self) -> Failure | None:
        """Return what is wrong with the complete response."""
        if self._status is None or not 200 <= self._status < 300:  # noqa: PLR2004 - as above
            message = f"the server of {self._function.name!r} answered {self._status}"
            return Failure(
                reason=Reason.HTTP_STATUS,
                message=message,
                status=self._status,
                output=self._error,
                output_limit=ERROR_BODY,
            )
        if self._function.stream == "sse":
            self._take(self._events.end())
        return finish_output(self._function, self._spool, b"")

    def progress(self) -> str:
        """Say how far the response had come."""
        if self._status is None:
            return "it had sent no response"
        return f"it had sent status {self._status} and {self._spool.size} bytes"

    def _take(self, data: bytes) -> None:
        if data and (problem := self._output.write(data)) is not None:
            raise _TooMuchError(problem)

    def _take_error(self, data: bytes) -> None:
        self._error = (self._error + data)[:ERROR_BODY]

    def _take_events(self, data: bytes) -> None:
        for event in self._events.feed(data):
            self._take(event)


class _EventReader:
    """Reads the data of server-sent events (HTML standard, section 9.2.6)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

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
        return events

    def end(self) -> bytes:
        """Return the data of a last event that no empty line ends."""
        self.feed(b"\n" if self._rest else b"")
        data, self._data = self._data, []
        return b"\n".join(data)


def _ended(function: Function, reason: Reason, detail: str, spool: Spool) -> Failure:
    failure = failure_of_exit(function, ProcessExit(status=None, reason=reason, detail=detail), spool)
    assert failure is not None  # noqa: S101 - it has a reason
    return failure


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _values(value: Any) -> list[Any]:
    """Return the values of a parameter: a list repeats it, and null leaves it out."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _header_text(text: str) -> str:
    """Return a value as a header can carry it: other characters are percent-encoded."""
    if text.isascii() and text.isprintable():
        return text
    return quote(text, safe=" !#$&'()*+,/:;=?@[]~-._")
