"""The local runtime: the platform's side of the protocol, on loopback, in a thread."""

import secrets
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from cm_exec.local_runtime.broker import Restart
from cm_exec.local_runtime.call import Call
from cm_exec.local_runtime.core.faults import Fault, ProtocolEndpoint
from cm_exec.local_runtime.core.job import RuntimeJob, Submission
from cm_exec.local_runtime.core.job_log import LogLine
from cm_exec.local_runtime.core.violation import ProtocolViolation
from cm_exec.local_runtime.core.worker_status import ProcessState, ProcessStatus
from cm_exec.local_runtime.engine import Engine, WorkerRequest
from cm_exec.local_runtime.http.caller_server import CallerServer
from cm_exec.local_runtime.worker_files import Style, WorkerFiles

T = TypeVar("T")


class LocalRuntime(Engine):
    """A runtime to run a worker against.

        with LocalRuntime(directory) as runtime:
            worker = subprocess.Popen(["cm-exec"], env={**os.environ, **runtime.environment()})
            call = runtime.submit("double", b"21")
            assert call.wait(timeout=10).body == b"42"

    `directory` takes the CA, the token and the connection file, and large results for as long as they are known.
    `max_concurrent_tasks` is the strict limit of jobs that are out at once (with `strict=False` it is only told,
    and not kept). `poll_wait` is the long poll's length in seconds; `max_result` the largest result in bytes, None
    for any; `history` how many ended jobs are known. With `listen=False` connections are refused until `resume`.

    `poll_timeout` is how long, in seconds, no poll may be open before that is a breach; `answer_grace` how long a job
    may be out after its caller gave up before that is one.

    `caller_port` opens the port for callers and the console (0: any free one); `call_timeout` is how long its
    callers wait who say nothing of it, in seconds, None for ever. With `programs_need_token` not only browsers but
    programs, too, must show the token: for machines that others use as well.
    """

    # What a worker is told

    @property
    def port(self) -> int:
        """The protocol's port."""
        return self._listener.port

    @property
    def token(self) -> str:
        """The token that is accepted now."""
        return self._token

    @property
    def files(self) -> WorkerFiles:
        """Where token, CA and connection file are."""
        return self._environment

    def environment(self, style: Style = "modern") -> dict[str, str]:
        """The variables for a worker; nothing but them."""
        return self._environment.variables(style)

    def rotate_token(self, *, write: bool = True, accept_old: bool = False) -> str:
        """Ask for a new token from now on; it is written to the files unless told otherwise. The new token."""
        token = secrets.token_urlsafe(32)

        def rotate() -> None:
            self._token = token
            self._api.tokens = {token.encode(), *(self._api.tokens if accept_old else ())}
            if write:
                self._environment.write(token=token, ca=self._ca)

        self._running().call(rotate)
        return token

    def write_files(self) -> None:
        """Write token, CA and connection file (again)."""
        self._environment.write(token=self._token, ca=self._ca)

    # The callers' port

    @property
    def url(self) -> str:
        """Where callers find the functions: `POST url/functions/NAME`."""
        return self._caller_desk().url

    @property
    def console_url(self) -> str:
        """The console's address, with the token that lets a browser in."""
        return self._caller_desk().console_url

    @property
    def caller_token(self) -> str:
        """The token for the callers' port."""
        return self._caller_desk().token

    def _caller_desk(self) -> CallerServer:
        if self._caller_server is None:
            raise RuntimeError("the runtime has no port for callers")
        return self._caller_server

    # What the program that runs the worker tells

    def record_log(self, job_id: str | None, line: str, stream: str = "stderr") -> None:
        """Keep a line that a handler wrote, or the worker (with no job). From any thread; returns at once."""
        self._running().call_later(lambda: self._broker.write_log(job_id, line, stream))

    def declare_functions(self, descriptions: Mapping[str, str | None]) -> None:
        """Tell of the functions of the worker's configuration: name to description."""
        self._running().call(lambda: self._broker.declare_functions(descriptions))

    def report_process(
        self,
        state: ProcessState,
        *,
        pid: int | None = None,
        command: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        """Tell where the worker's process stands."""

        def report() -> None:
            process = ProcessStatus(
                state=state, since=self._broker.clock(), pid=pid, command=command, exit_code=exit_code
            )
            self._broker.report_process(process)

        self._running().call(report)

    def report_configuration(self, error: str | None) -> None:
        """Tell what is wrong with the worker's configuration; None: nothing any more."""
        self._running().call(lambda: self._broker.report_configuration(error))

    def hold(self) -> None:
        """Hand out no jobs for now, and answer the open polls: the worker is about to be replaced.

        Calls are queued as ever. A worker that polls in spite of it gets nothing, and soon.
        """

        def hold() -> None:
            self._broker.hold()
            self._api.polls.hold()

        self._running().call(hold)

    def release(self) -> None:
        """Hand out jobs again."""

        def release() -> None:
            self._broker.release()
            self._api.polls.release()

        self._running().call(release)

    def worker_gone(self, reason: str = "the worker ended", only: Collection[str] | None = None) -> list[str]:
        """The worker's process is known to have ended: what it held is lost, and its silence no breach.

        `only` are the ids of the jobs that it can have held, where another worker goes on with others.
        """
        return self._running().call(lambda: self._broker.worker_gone(reason, only))

    # Calls

    def submit(
        self,
        function: str,
        query: bytes,
        *,
        timeout: float | None = None,
        user_id: str | None = None,
        auth_header: str | None = None,
        temporary_credentials_auth_token: str | None = None,
        job_id: str | None = None,
    ) -> Call:
        """Queue a job. `query` is JSON text, handed on byte for byte; `timeout` is the caller's, in seconds."""
        submission = Submission(
            function=function,
            query=query,
            timeout=timeout,
            user_id=user_id,
            auth_header=auth_header,
            temporary_credentials_auth_token=temporary_credentials_auth_token,
        )
        call = Call(job_id or str(uuid.uuid4()))
        self._running().call(lambda: self._broker.submit(call, submission))
        return call

    def answer_next_poll_with(self, body: bytes, *, expect: str | None = None) -> Call:
        """Answer one poll with this body as it stands, be it a job or not.

        `expect` is the id under which a result is taken, where one can be hoped for; the call returned is its.
        """
        call = Call(expect or str(uuid.uuid4()))

        def script() -> None:
            if expect is not None:
                self._broker.expect(call)
            self._api.scripted.append(body)
            self._api.polls.offer()

        self._running().call(script)
        return call

    # Faults

    def inject(self, *faults: Fault) -> None:
        """Add rules of what goes wrong from now on."""
        self._running().call(lambda: self._api.faults.faults.extend(faults))

    def set_faults(self, *texts: str) -> None:
        """Put these in place of all rules, as a person writes them (see `parse_fault`). Raises FaultSyntaxError."""
        self._running().call(lambda: self._info.set_faults(list(texts)))

    def clear_faults(self) -> None:
        """Let everything go right."""
        self._running().call(self._api.faults.faults.clear)

    # What happened

    @property
    def jobs(self) -> list[RuntimeJob]:
        """The jobs that are known, the oldest first."""
        return self._look(lambda: list(self._broker.ledger.jobs.values()))

    @property
    def violations(self) -> list[ProtocolViolation]:
        """What the worker did against the contract, the oldest first."""
        return self._look(lambda: list(self._broker.ledger.violations))

    def job_log(self, job_id: str | None) -> list[LogLine]:
        """The lines of a job that are kept, the oldest first; with None those of no job."""
        return self._look(lambda: list(self._broker.log.of(job_id).kept))

    @property
    def restarts(self) -> list[Restart]:
        """The restart notifications, the oldest first."""
        return self._look(lambda: list(self._broker.restarts))

    @property
    def schemas(self) -> list[bytes]:
        """The bodies of POST schemas, the oldest first."""
        return self._look(lambda: list(self._broker.schema_posts))

    @property
    def requests(self) -> list[WorkerRequest]:
        """The last requests of workers (10,000 at most), the oldest first."""
        return self._look(lambda: list(self._requests))

    @property
    def open_polls(self) -> int:
        """How many polls are waiting for a job."""
        return self._look(lambda: self._api.polls.count)

    def count(self, endpoint: ProtocolEndpoint, status: int | None = None) -> int:
        """How many requests there were, of the last 10,000."""
        return sum(r.endpoint is endpoint and status in {None, r.status} for r in self.requests)

    def wait_for_poll(self, timeout: float = 30.0) -> None:
        """Return when a poll is open. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self.open_polls:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no worker polled within {timeout:g} s")
            time.sleep(0.005)

    def _look(self, look: Callable[[], T]) -> T:
        return self._thread.call(look) if self._thread else look()
