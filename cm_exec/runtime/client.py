"""The runtime as the worker knows it: registration, polls and results."""

import asyncio
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from cm_exec.protocol.status import Verdict, result_verdict
from cm_exec.runtime.endpoints import Endpoint, RuntimeEndpoints
from cm_exec.runtime.errors import RequestError
from cm_exec.runtime.http import Response
from cm_exec.runtime.poller import Poller
from cm_exec.runtime.reporter import Reporter
from cm_exec.runtime.retry import Backoff, FailureLog, RetryLimits
from cm_exec.runtime.session import RuntimeSession

log: Final = logging.getLogger("cm_exec.runtime")

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
