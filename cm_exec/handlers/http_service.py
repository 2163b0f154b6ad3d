"""Services that are HTTP servers: started, watched and called by the loop."""

import asyncio
import errno
import logging
import os
from contextlib import suppress
from typing import Final

from cm_exec.config import Function, ServerAddress, Service
from cm_exec.handlers import HandlerContext, service_environment
from cm_exec.handlers.outcome import (
    CallerSecrets,
    LogPipe,
    StderrLogger,
    StderrTail,
    early_exit,
    failure_of_status,
    log_exit,
)
from cm_exec.handlers.server_connections import ServerConnections
from cm_exec.handlers.service_process import BETWEEN, TOO_EARLY
from cm_exec.handlers.service_state import ServiceLog, ServiceState, StartHistory
from cm_exec.processes.child import Child, Command, NotStartedError
from cm_exec.processes.termination import terminate_all
from cm_exec.protocol.failure import Failure, JobFailedError, Reason
from cm_exec.runtime.http import OnHead, request_head
from cm_exec.runtime.retry import RequestError
from cm_exec.text import count_text

log: Final = logging.getLogger("cm_exec.handler")

_NOT_OURS: Final = "; no command in cm.toml starts it"
_FIRST_LOOK: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_CHECK_SECONDS: Final = 5.0
_TRIES: Final = 3
"""Times that a request is sent while the server cannot have received it."""

_NO_DESCRIPTOR: Final = "no free file descriptor"
_NO_LIMIT: Final = 24 * 3600.0
_EXIT_GRACE: Final = 0.25
"""Seconds in which the exit of a server is seen after its connection broke."""
_CRASH_GRACE: Final = 0.02
"""The same where the end of a connection is the regular end of a body: all these responses wait for it."""


class HttpService:
    """One HTTP server, shared by the functions that it serves. It is started here, or by something else."""

    def __init__(self, service: Service, context: HandlerContext) -> None:
        self.service = service
        self._subject = f"the server of {service.name!r}"
        self._tags = {"function": service.name}
        self._context = context
        self._environment = service_environment(service, context.environment)
        self._connections = ServerConnections(service.address or ServerAddress())
        self.host = self._connections.host
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._status: int | None = None
        self._stderr_tail = StderrTail()
        self._pipes: tuple[LogPipe, ...] = ()
        self.secrets = CallerSecrets(64)
        self._is_ready = self._was_ready = False
        self._starts = StartHistory(service.start_timeout)
        self.first_start_over = asyncio.Event()
        """Set when the server is ready for the first time, or when jobs are not kept waiting for it."""
        self._news = asyncio.Event()
        """Set for a moment each time this is so again."""
        self._problem = self._check_problem = ""
        self._states = ServiceLog(service, lambda: self._check_problem + ("" if service.argv else _NOT_OURS))
        self._ended = asyncio.Event()
        self._attention = asyncio.Event()
        """Set when the server has ended, or must be checked."""
        self._supervisor: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(service.jobs_per_process)
        self._busy = 0

    def open(self) -> None:
        """Start the server; safe to call again, for another function."""
        if self._supervisor is None:
            self._supervisor = self._loop.create_task(self._supervise())

    async def close(self) -> None:
        """End the server; safe to call again."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait((supervisor,))
            self._connections.close()

    async def request(self, function: Function, head: bytes, body: bytes, on_head: OnHead) -> None:
        """Send one request when the server is ready; its response goes to `on_head`.

        Raises JobFailedError, TimeoutError. The time runs from the moment at which the server is ready.
        """
        for _ in range(_TRIES):
            await self._wait_until_ready()
            async with self._slots:
                self._busy += 1
                try:
                    problem = await self._exchange(function, head, body, on_head)
                finally:
                    self._busy -= 1
            if problem is None:
                return
            if problem == _NO_DESCRIPTOR:
                break
            self.check_soon()
        message = f"cannot connect to {self._subject}: {problem}"
        raise JobFailedError(Failure(reason=Reason.NOT_STARTED, message=message, stderr=self._stderr_end()))

    async def _exchange(self, function: Function, head: bytes, body: bytes, on_head: OnHead) -> str | None:
        """Send a request and read its response; return what is wrong if the server cannot have received it."""
        deadline = self._loop.time() + (function.timeout or _NO_LIMIT)
        child = self._child
        try:
            connection = self._connections.kept()
            if connection is None:
                async with asyncio.timeout_at(deadline):
                    connection = await self._connections.connect()
            response = await connection.request(head, body, deadline - self._loop.time(), on_head)
        except TimeoutError:
            raise
        except OSError as error:
            return _NO_DESCRIPTOR if error.errno in {errno.EMFILE, errno.ENFILE} else _os_error_text(error)
        except RequestError as error:
            if error.timed_out:
                raise TimeoutError from error
            if not error.never_sent:
                raise await self._explained(function, error) from error
            return str(error)
        self._connections.keep(connection)
        if response.lasts_to_end and child is not None:
            await self._check_end(function, child)
        return None

    def check_soon(self) -> None:
        """Check whether the server still works, and restart it if not: a job has timed out, or was refused."""
        self._is_ready = False
        self._attention.set()

    @property
    def _no_response(self) -> str:
        return f"no response from {self.service.url}{self.service.ready} within {_CHECK_SECONDS:g} s"

    def _stderr_end(self) -> bytes:
        return self.secrets.redact(self._stderr_tail.getvalue())

    # The life of the server

    async def _supervise(self) -> None:
        """Start the server and keep it running, with pauses that grow while it does not become ready."""
        try:
            while True:
                self._attention.clear()
                began = self._loop.time()
                if self._child is None and self.service.argv:
                    self._start_child()
                self._log_state("starting")
                if await self._becomes_ready(began + (self.service.start_timeout or _NO_LIMIT)):
                    self._starts.reset()
                    self._log_state("ready")
                    self._is_ready = self._was_ready = True
                    self._wake_waiting()
                    await self._attention.wait()
                    self._is_ready = False
                    self._connections.close()
                    if self._status is None and await self._passes_check():
                        continue  # a job has timed out, and the server works
                    if self._status is None:
                        text = self._check_problem
                        log.warning(
                            "%s does not pass its readiness check: %s", self._subject, text, extra={"tags": self._tags}
                        )
                else:
                    if self._status is None:  # an exit is logged when it happens
                        log.warning("%s", self._problem, extra={"tags": self._tags})
                    self._starts.ended(self._not_ready(), began=began, now=self._loop.time())
                    if self._starts.refusal is not None:
                        self._wake_waiting()
                    self._log_state("failed")
                if self.service.argv:
                    await self._end_child()
                    await asyncio.sleep(self._starts.pause)
        finally:
            await self._end_child()
            self._states.close()

    def _log_state(self, state: ServiceState) -> None:
        self._states.set(state, int(self._child is not None and state != "failed") if self.service.argv else None)

    def _start_child(self) -> None:
        service = self.service
        command = Command(argv=service.argv, env=self._environment, cwd=service.cwd)
        self._status, self._was_ready = None, False
        self._ended.clear()
        self._stderr_tail = StderrTail()
        try:
            child = Child(command, self._context.trees)
        except NotStartedError as error:
            self._problem = str(error)
            return
        child.close_stdin()
        redact, tail = self.secrets.redact, self._stderr_tail
        self._child = child
        self._pipes = tuple(LogPipe(fd, tail, StderrLogger(self._tags, redact)) for fd in (child.result, child.stderr))
        child.exit_watch.start(self._loop, self._child_exited)

    def _child_exited(self) -> None:
        if self._child is not None and (status := self._child.exit_status()) is not None:
            self._status = status
            self._child.exit_watch.stop(self._loop)
            for pipe in self._pipes:
                pipe.read_rest()
            busy = f"during {count_text(self._busy, 'job')}" if self._busy else BETWEEN
            log_exit(self._subject, busy if self._was_ready else TOO_EARLY, status, self._stderr_end(), self._tags)
            self._ended.set()
            self._attention.set()

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.exit_watch.stop(self._loop)
        for pipe in self._pipes:
            pipe.close()
        await asyncio.shield(self._loop.create_task(terminate_all([child], self._context.graces)))

    async def _becomes_ready(self, deadline: float) -> bool:
        """Wait until the readiness check passes; return False if it does not in time, or the server ends before."""
        pause = _FIRST_LOOK
        while self._loop.time() < deadline:
            if self._status is not None or (self.service.argv and self._child is None):
                return False  # it has ended, or cannot be started
            if await self._passes_check():
                return self._status is None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ended.wait()
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        seconds = self.service.start_timeout
        self._problem = f"{self._subject} was not ready within {seconds:g} s: {self._check_problem}"
        return False

    async def _passes_check(self) -> bool:
        """Return whether the server accepts a connection, or answers the request of `ready` with a 2xx status."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                connection = await self._connections.connect()
            try:
                if not self.service.ready.startswith("/"):
                    return True
                head = request_head("GET", self.service.ready, (("Host", self.host),))
                status = (await connection.request(head, None, _CHECK_SECONDS)).status
            finally:
                connection.close()
        except TimeoutError:
            self._check_problem = self._no_response
        except OSError as error:
            self._check_problem = f"cannot connect to {self.service.url}: {_os_error_text(error)}"
        except RequestError as error:
            self._check_problem = self._no_response if error.timed_out else str(error)
        else:
            self._check_problem = f"{self.service.url}{self.service.ready} answers {status}"
            return is_success(status)
        return False

    async def _wait_until_ready(self) -> None:
        while not self._is_ready:
            if self._starts.refusal is not None:
                raise JobFailedError(self._starts.refusal)
            await self._news.wait()

    def _wake_waiting(self) -> None:
        self.first_start_over.set()
        self._news.set()
        self._news.clear()

    def _not_ready(self) -> Failure:
        if self._status is not None:
            return early_exit(self._subject, self._status, self._stderr_end())
        return Failure(reason=Reason.NOT_STARTED, message=self._problem, stderr=self._stderr_end())

    async def _check_end(self, function: Function, child: Child) -> None:
        """Check that the server has ended a body, and not the end of the server. Raises JobFailedError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CRASH_GRACE):
                await self._ended.wait()
        if self._status:
            raise JobFailedError(failure_of_status(function, self._status, self._stderr_end()))
        if self._status is None and self._child is not child:
            message = f"the server of {function.name!r} was ended before its response was complete"
            raise JobFailedError(Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=self._stderr_end()))

    async def _explained(self, function: Function, error: RequestError) -> JobFailedError:
        """Return the exit of the server if that is why the connection broke, else that it broke."""
        if self._child is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_GRACE):
                    await self._ended.wait()
        stderr = self._stderr_end()
        if self._status:
            return JobFailedError(failure_of_status(function, self._status, stderr))
        if self._status == 0:
            message = f"the server of {function.name!r} ended without a response"
            return JobFailedError(Failure(reason=Reason.EXIT, message=message, exit_code=0, stderr=stderr))
        message = f"the server of {function.name!r} sent no complete response: {error}"
        return JobFailedError(Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=stderr))


def is_success(status: int) -> bool:
    """Return whether it is a status of the 2xx class."""
    return 200 <= status < 300  # noqa: PLR2004


def _os_error_text(error: OSError) -> str:
    """Return the system's words for an error; asyncio's have the address in them."""
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
