"""The runtime as the worker knows it: registration, polls and results."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from cm_exec.errors import AuthenticationError
from cm_exec.runtime.connection import Body, StreamingBody
from cm_exec.runtime.endpoints import Endpoint, RuntimeEndpoints
from cm_exec.runtime.http import Response
from cm_exec.runtime.retry import Backoff, FailureLog, RequestError, RetryLimits, Verdict, poll_verdict, result_verdict
from cm_exec.runtime.session import RuntimeSession

log: Final = logging.getLogger("cm_exec.runtime")

_TOO_QUICK: Final = 0.02
"""Seconds: a runtime that answers "no job" sooner does not hold polls, and is asked less often."""

_SLOWEST: Final = 0.4


class Polled(Struct, frozen=True):
    """The outcome of one poll.

    `body` is the job as the runtime sent it, None if there was none. `partial` is the beginning of a truncated
    response: the runtime may count the job as handed out, or hand it out again.
    """

    body: bytes | bytearray | memoryview | None = None
    partial: bytes = b""

    def __repr__(self) -> str:
        return f"Polled({len(self.body or b'')} bytes, {len(self.partial)} partial)"  # it may hold a secret


_NOTHING: Final = Polled()


class Poller:
    """Keeps one poll open. `is_well` is whether the last poll got a valid response."""

    def __init__(self, session: RuntimeSession, endpoint: Endpoint, limits: RetryLimits) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._failures = FailureLog("polling for jobs")
        self._after_failure = Backoff(limits.first_delay, limits.longest_delay)
        self._after_nothing = Backoff(_TOO_QUICK, _SLOWEST)
        self._rejected_since: float | None = None
        self.is_well = True
        self.pause = 0.0
        """Seconds to wait before the next poll."""

    async def poll(self) -> Polled:
        """Wait for the pause after the last poll, then ask once.

        Raises AuthenticationError when the runtime has rejected the token for too long.
        """
        if self.pause:
            pause, self.pause = self.pause, 0.0
            await asyncio.sleep(pause)
        started = time.monotonic()
        try:
            response = await self._session.request("GET", self._endpoint, seconds=self._limits.poll)
        except RequestError as error:
            self._rejected_since = None
            self._failed(str(error))
            return Polled(partial=error.partial)
        verdict = poll_verdict(response.status)
        if verdict is Verdict.REAUTHENTICATE:
            self._rejected(response.status)
            return _NOTHING
        self._rejected_since = None
        if verdict is not Verdict.ACCEPTED:
            self._failed(f"the runtime answers {response.status}")
            return _NOTHING
        if response.body:
            return Polled(body=response.body)
        if response.status != HTTPStatus.NO_CONTENT:
            self._failed(f"the runtime answers {response.status} with an empty body")
            return _NOTHING
        self._no_job(time.monotonic() - started)
        return _NOTHING

    def reject(self, why: str) -> None:
        """Note that the response was no job: a failure, since to ask again at once would spin."""
        self._failed(why)

    def accept(self) -> None:
        """Note that the response was a job."""
        self._succeeded()
        self._after_nothing.reset()

    def repeated(self) -> None:
        """Note that the response was a job that is in progress or answered: ask less and less often."""
        self.is_well = True
        self.pause = self._after_failure.next()

    def _no_job(self, seconds: float) -> None:
        self._succeeded()
        if seconds < _TOO_QUICK:
            self.pause = self._after_nothing.next()
        else:
            self._after_nothing.reset()

    def _succeeded(self) -> None:
        self.is_well = True
        self._failures.recovered()
        self._after_failure.reset()

    def _rejected(self, status: int) -> None:
        now = time.monotonic()
        self._rejected_since = self._rejected_since or now
        limit = self._limits.auth_failure
        if now - self._rejected_since > limit:
            raise AuthenticationError(f"the runtime has answered {status} to every poll for {limit:g} s")
        self._session.reload()
        self._failed(f"the runtime answers {status}: it does not accept the token")

    def _failed(self, why: str) -> None:
        self.is_well = False
        self._failures.failed(why)
        self.pause = self._after_failure.next()


_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]+")  # as a UUID is
_BYTES_PER_SECOND: Final = 1024 * 1024
_STREAM_SECONDS: Final = 24 * 3600.0
"""A stream may last as long as its job, which has its own timeout; a replica lives for 22 hours at most."""


_DECIDED: Final = frozenset({Verdict.ACCEPTED, Verdict.GONE, Verdict.REFUSED})
"""What the response to a result says for good."""


class Delivered(Struct, frozen=True):
    """What became of a result, and the last response to it in words."""

    verdict: Verdict
    why: str

    @property
    def is_accepted(self) -> bool:
        """Whether the runtime has the result."""
        return self.verdict is Verdict.ACCEPTED

    @property
    def is_rejected(self) -> bool:
        """Whether the runtime will not take this result; perhaps a smaller one."""
        return self.verdict is Verdict.REFUSED


class Reporter:
    """Posts results. `polls_succeed` says whether the runtime is well: if it is not, a result waits for it."""

    def __init__(
        self, session: RuntimeSession, endpoint: Endpoint, limits: RetryLimits, polls_succeed: Callable[[], bool]
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._polls_succeed = polls_succeed

    async def deliver(self, job_id: str, body: Body) -> Delivered:
        """Post until it is decided what becomes of this result."""
        limits = self._limits
        backoff = Backoff(limits.first_delay, limits.longest_delay)
        size = len(body) if isinstance(body, bytes) else getattr(body, "size", 0)
        seconds = limits.post + size / _BYTES_PER_SECOND
        failing_since: float | None = None
        while True:
            verdict, why, timed_out = await self._post(job_id, body, seconds)
            if verdict in _DECIDED:
                return _decided(job_id, verdict, why)
            now = time.monotonic()
            if failing_since is None or not self._polls_succeed():
                failing_since = now
            if now - failing_since > limits.rejected_result:
                return _decided(job_id, Verdict.REFUSED, f"{why}, for {limits.rejected_result:g} s")
            if timed_out:
                seconds *= 2
            log.warning("the result of job %s is not posted yet: %s; trying again", job_id, why)
            await asyncio.sleep(backoff.next())
            if verdict is Verdict.REAUTHENTICATE:
                self._session.reload()

    async def stream(self, job_id: str, chunks: AsyncIterator[bytes]) -> Delivered | None:
        """Post a result as it is produced; None if that failed and the whole must be posted again.

        What `chunks` raises comes through, and the body is cut off without its end: the only sign of failure that the
        protocol has.
        """
        verdict, why, _ = await self._post(job_id, StreamingBody(chunks), _STREAM_SECONDS)
        if verdict in _DECIDED:
            return _decided(job_id, verdict, why)
        log.warning("the result of job %s was not streamed: %s; it is posted whole at its end", job_id, why)
        if verdict is Verdict.REAUTHENTICATE:
            self._session.reload()
        return None

    async def _post(self, job_id: str, body: Body, seconds: float) -> tuple[Verdict, str, bool]:
        path = "/" + (job_id if _SAFE_ID.fullmatch(job_id) else quote(job_id, safe=""))
        try:
            response = await self._session.request(
                "POST", self._endpoint, path=path, body=body, content_type="application/octet-stream", seconds=seconds
            )
        except RequestError as error:
            return Verdict.RETRY, str(error), error.timed_out
        return result_verdict(response.status), f"the runtime answers {response.status}", False


def _decided(job_id: str, verdict: Verdict, why: str) -> Delivered:
    if verdict is Verdict.GONE:
        log.warning("job %s: %s; it does not wait for the result, which is dropped", job_id, why)
    elif verdict is Verdict.REFUSED:
        log.error("job %s: the result is rejected: %s", job_id, why)
    return Delivered(verdict, why)


_NOT_THERE_YET: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class RuntimeClient:
    """Registers the worker; `poller` and `reporter` do the rest."""

    def __init__(
        self,
        environ: Mapping[str, str],
        endpoints: RuntimeEndpoints,
        server_name: str | None,
        limits: RetryLimits | None = None,
    ) -> None:
        """Raise NoRuntimeError when the CA cannot be used."""
        self._limits = limits or RetryLimits()
        self.endpoints = endpoints
        self._session = RuntimeSession(environ, endpoints, server_name, self._limits)
        self.poller = Poller(self._session, endpoints.job, self._limits)
        self.reporter = Reporter(self._session, endpoints.result, self._limits, lambda: self.poller.is_well)

    async def register(self, schemas: bytes) -> None:
        """Publish the functions and notify the runtime of the restart, before the first poll. Neither is fatal.

        The restart notification makes the runtime drop the jobs that this container had before: without it they block
        the replica for up to 22 hours. It must not be sent later, or it drops live jobs.
        """
        limits = self._limits
        if self.endpoints.schema is not None:
            await self._post_when_connected(
                self.endpoints.schema, schemas, "publishing the functions", patience=limits.schema_patience
            )
        if self.endpoints.restart is not None:
            response = await self._post_when_connected(
                self.endpoints.restart, b"", "the restart notification", patience=limits.restart_patience
            )
            if response is not None:
                _log_dropped(response)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    async def _post_when_connected(
        self, endpoint: Endpoint, body: bytes, activity: str, *, patience: float
    ) -> Response | None:
        """Post as soon as the runtime is there; return None if it does not accept the post.

        While nobody accepts a connection no poll would succeed either. Once somebody does, resets, timeouts, 408, 429,
        502, 503 and 504 mean "not there yet" and are retried for `patience` seconds. 500 and other statuses end it: a
        runtime that fails at this will not do better the next second.
        """
        limits = self._limits
        failures, backoff = FailureLog(activity), Backoff(limits.first_delay, limits.longest_delay)
        content_type = "application/json" if body else ""
        give_up: float | None = None
        while True:
            final = False
            try:
                response = await self._session.request(
                    "POST", endpoint, body=body, content_type=content_type, seconds=limits.start_post
                )
            except RequestError as error:
                why, never_connected = str(error), error.never_connected or error.untrusted
            else:
                verdict = result_verdict(response.status)
                if verdict is Verdict.ACCEPTED:
                    failures.recovered()
                    return response
                why, never_connected = f"the runtime answers {response.status}", False
                if verdict is Verdict.REAUTHENTICATE:
                    self._session.reload()
                final = verdict is not Verdict.REAUTHENTICATE and response.status not in _NOT_THERE_YET
            now = time.monotonic()
            give_up = None if never_connected else give_up or now + patience
            if final or (give_up is not None and now >= give_up):
                log.warning("%s failed: %s; continuing without it", activity, why)
                return None
            failures.failed(why)
            await asyncio.sleep(backoff.next())


def _log_dropped(response: Response) -> None:
    try:
        dropped = msgspec.json.decode(response.body, type=list[str]) if response.body else []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    if dropped:
        log.warning("the runtime has dropped %d jobs of this container's previous run", len(dropped))
