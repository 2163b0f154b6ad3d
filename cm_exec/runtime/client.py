"""The runtime as the worker knows it."""

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from cm_exec.protocol.status import Verdict, result_verdict
from cm_exec.runtime.backoff import Backoff
from cm_exec.runtime.connection import READ_TIMEOUT
from cm_exec.runtime.errors import ExchangeError
from cm_exec.runtime.http import Answer
from cm_exec.runtime.link import FIRST_DELAY, LONGEST_DELAY, Access, Link, Stopped
from cm_exec.runtime.location import Endpoint, Location
from cm_exec.runtime.poller import Poller
from cm_exec.runtime.reporter import Reporter
from cm_exec.runtime.trouble import Trouble

log: Final = logging.getLogger(__name__)

TRIES: Final = 3
"""How often the start's two posts are tried on a runtime that takes connections and then fails."""

START_TIMEOUT: Final = 5.0
"""Seconds that the runtime may take for each; until then it gets no poll."""


class RuntimeClient:
    """Start, poll and report, each over connections of its own."""

    def __init__(self, environ: Mapping[str, str], location: Location, server_name: str | None) -> None:
        """Raise NoRuntimeError when the CA cannot be used."""
        self.location = location
        self._access = Access(environ, location)
        self._server_name = server_name
        self._poll_link = self._link()
        self._announcing = True

    def announce(self, schemas: bytes, stopped: Stopped) -> None:
        """Publish the functions and tell of the restart, before the first poll; neither is worth failing for.

        The restart notification makes the runtime drop the jobs that this container held before: without it they
        block the replica for up to 22 hours. It must not be sent later, or it drops live jobs.
        """
        link = self._poll_link  # one handshake for both: the first poll is the sooner there
        link.read_timeout = START_TIMEOUT
        if self.location.schema is not None:
            answer = _once_connected(link, self.location.schema, schemas, stopped, "publishing the functions")
            if answer is not None:
                log.debug("functions published")
        if self.location.restart is not None:
            answer = _once_connected(link, self.location.restart, b"", stopped, "the restart notification")
            if answer is not None:
                _tell_dropped(answer)
        link.read_timeout = READ_TIMEOUT
        self._announcing = False

    def abandon_start(self) -> None:
        """Let `announce`, where it still waits for an answer, end now. Called when no poll is to follow."""
        if self._announcing:
            self._poll_link.abort()

    def poller(self, stopped: Stopped) -> tuple[Poller, Link]:
        """The poll loop's way, and the link to abort when an open poll is not waited for any longer."""
        return Poller(self._poll_link, self.location.job, stopped), self._poll_link

    def reporter(self, stopped: Stopped) -> Reporter:
        """A slot's way."""
        return Reporter(self._link(), self.location.result, stopped)

    def close(self) -> None:
        """Close the connection of the polls, after the last one."""
        self._poll_link.close()

    def _link(self) -> Link:
        return Link(self._access, self._server_name)


def _once_connected(link: Link, endpoint: Endpoint, body: bytes, stopped: Stopped, activity: str) -> Answer | None:
    """Post as soon as the runtime takes connections; then a few tries are enough, since jobs wait.

    A 5xx ends it at once: a runtime that fails at this will not do better the next second.
    """
    trouble, backoff, tries = Trouble(activity), Backoff(FIRST_DELAY, LONGEST_DELAY), TRIES
    while tries:
        answer, why, counts = _attempt(link, endpoint, body)
        if answer is not None:
            trouble.over()
            return answer
        tries -= counts
        if tries:
            trouble.happened(why)
            if stopped(backoff.next()):
                return None
    log.warning("%s failed: %s; going on without", activity, why)
    return None


def _attempt(link: Link, endpoint: Endpoint, body: bytes) -> tuple[Answer | None, str, int]:
    """The accepted answer or why there is none, and how many of the tries this one counts for."""
    try:
        answer = link.request("POST", endpoint, body=body, content_type="application/json" if body else "")
    except ExchangeError as error:
        return None, str(error), 0 if error.never_connected or error.untrusted else 1
    verdict = result_verdict(answer.status)
    if verdict is Verdict.REAUTHENTICATE:
        link.renew()
    why = f"the runtime answers {answer.status}"
    return answer if verdict is Verdict.ACCEPTED else None, why, 1 if verdict is Verdict.REAUTHENTICATE else TRIES


def _tell_dropped(answer: Answer) -> None:
    try:
        dropped = msgspec.json.decode(answer.body, type=list[str]) if answer.body else []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    if dropped:
        log.warning("the runtime has dropped %d jobs of this container's previous run", len(dropped))
