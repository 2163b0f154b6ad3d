"""A compute module runtime over real TLS that follows a script, request by request.

It shares no code with cm_exec: what it knows of the protocol is written here a second time.
"""

import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from socket import socket
from types import TracebackType
from typing import Final, Self

from tests.support.jobs import JobQueue, Offer
from tests.support.listener import Listener
from tests.support.raw_http import ClientGoneError, Head, HungUp, RawConnection, over
from tests.support.request_log import PATIENCE, Endpoint, Request, RequestLog
from tests.support.responses import Behaviour, RequestContext, normal

API: Final = "/interactive-module/api/internal-query"

TOKEN: Final = "token-of-the-module"
"""The token that a runtime takes, unless it is rotated."""

_PATHS: Final = {
    ("GET", f"{API}/job"): Endpoint.JOB,
    ("POST", f"{API}/schemas"): Endpoint.SCHEMA,
    ("POST", f"{API}/restart-notify"): Endpoint.RESTART,
}


class ScriptedRuntime:
    """A runtime for one worker. `context` None speaks plain HTTP instead of TLS.

    Each endpoint has a queue of behaviours, one a request, and a lasting one for when the queue is empty.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.token = TOKEN
        self.tokens = {TOKEN}
        self.poll_seconds = 5.0
        self.request_log = RequestLog()
        self.jobs = JobQueue(self.request_log.changed)
        self._context = context
        self._once: dict[Endpoint, deque[Behaviour]] = {endpoint: deque() for endpoint in Endpoint}
        self._always: dict[Endpoint, Behaviour] = dict.fromkeys(Endpoint, normal)
        self._wires: set[RawConnection] = set()
        self._stopping = threading.Event()
        self._listener = Listener(self._serve)
        self.port = self._listener.port
        self.origin = f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._listener.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.release_polls()
        self._listener.refuse()
        self._shut_connections()
        self._listener.close()

    def script(self, endpoint: Endpoint, *behaviours: Behaviour) -> None:
        """Set the behaviours of the next requests to `endpoint`, one each."""
        with self.request_log.changed:
            self._once[endpoint].extend(behaviours)

    def always(self, endpoint: Endpoint, behaviour: Behaviour) -> None:
        """Set the behaviour of all further requests to `endpoint`."""
        with self.request_log.changed:
            self._always[endpoint] = behaviour

    def go_down(self) -> None:
        """Refuse connections and break the open ones."""
        self._listener.refuse()
        self._shut_connections()

    def come_back(self) -> None:
        self._listener.open()

    def show_certificate(self, context: ssl.SSLContext | None) -> None:
        """Use another certificate, or no TLS, on new connections."""
        self._context = context

    def rotate_token(self, token: str) -> None:
        """Accept only `token` from now on."""
        self.tokens.clear()
        self.tokens.add(token)

    def release_polls(self) -> None:
        """Respond to open and later polls at once, so that a worker drains quickly."""
        self.request_log.note(lambda: setattr(self, "poll_seconds", 0.0))

    def submit(
        self,
        function: str,
        query: bytes = b"null",
        *,
        job_id: str | None = None,
        members: Mapping[str, str] | None = None,
    ) -> str:
        """Queue a job and return its id."""
        return self.jobs.submit(query, function, job_id=job_id, members=members)

    def submit_raw(self, job_id: str, body: bytes) -> None:
        """Queue a job whose whole body is `body`; results are taken under `job_id`."""
        self.jobs.offer(Offer(job_id=job_id, body=body))

    def posts(self, job_id: str) -> list[Request]:
        """Return all results posted for a job, in order, accepted or not."""
        return [r for r in self.request_log.all(Endpoint.RESULT) if r.job_id == job_id]

    def result(self, job_id: str, *, seconds: float = PATIENCE) -> Request:
        """Return the first accepted result of a job."""
        return self.request_log.wait_for(
            lambda: next((r for r in self.posts(job_id) if r.accepted), None),
            what=f"a result for {job_id}",
            seconds=seconds,
        )

    def call(self, function: str, query: bytes = b"null", *, seconds: float = PATIENCE) -> bytes:
        """Submit a job and return the result that is posted for it."""
        return bytes(self.result(self.submit(function, query), seconds=seconds).body)

    def wait_for_poll(self, *, after: int = 0, seconds: float = PATIENCE) -> None:
        """Wait until more than `after` polls have come."""
        self.request_log.wait_for(
            lambda: len(self.request_log.all(Endpoint.JOB)) > after, what="a poll", seconds=seconds
        )

    def wait_until_handed_out(self, job_id: str) -> None:
        self.request_log.wait_for(lambda: job_id in self.jobs.handed_out, what=f"handing out {job_id}")

    def _shut_connections(self) -> None:
        with self.request_log.changed:
            wires = list(self._wires)
        for wire in wires:
            wire.shut()

    def _serve(self, sock: socket) -> None:
        wire = over(sock, self._context)
        with self.request_log.changed:
            self._wires.add(wire)
            self.request_log.connections += 1
            number = self.request_log.connections
        try:
            self._converse(wire, number)
        finally:
            wire.close()
            with self.request_log.changed:
                self._wires.discard(wire)

    def _converse(self, wire: RawConnection, number: int) -> None:
        try:
            wire.handshake()
        except (OSError, ValueError) as error:
            self.request_log.handshake_failed(str(error))
            return
        while self._exchange(wire, number):
            pass

    def _exchange(self, wire: RawConnection, number: int) -> bool:
        """Serve one request. Return False at the end of the connection."""
        try:
            head = wire.read_head()
            if head is None:
                return False
            request = Request(at=time.monotonic(), connection=number, endpoint=endpoint_of(head), head=head)
            self.request_log.add(request)
        except ClientGoneError:
            return False
        try:
            self._behaviour(request.endpoint)(self._exchange_of(request, wire))
        except (ClientGoneError, HungUp):
            self.request_log.give_up(request)
            return False
        return not self._stopping.is_set()

    def _behaviour(self, endpoint: Endpoint) -> Behaviour:
        with self.request_log.changed:
            once = self._once[endpoint]
            return once.popleft() if once else self._always[endpoint]

    def _exchange_of(self, request: Request, wire: RawConnection) -> RequestContext:
        return RequestContext(
            request=request,
            wire=wire,
            request_log=self.request_log,
            jobs=self.jobs,
            tokens=self.tokens,
            poll_seconds=lambda: self.poll_seconds,
            stopping=self._stopping,
        )


def endpoint_of(head: Head) -> Endpoint:
    """Return the endpoint of the protocol that a request is for."""
    if head.method == "POST" and head.target.startswith(f"{API}/results/"):
        return Endpoint.RESULT
    return _PATHS.get((head.method, head.target), Endpoint.OTHER)
