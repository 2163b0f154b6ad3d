"""The local runtime: the platform's side of the protocol, in a thread, for a worker on one's own machine."""

import secrets
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from cm_exec.local_runtime.broker import Broker, Restart
from cm_exec.local_runtime.call import Call
from cm_exec.local_runtime.caller_server import CallerServer
from cm_exec.local_runtime.core import Limits, LogLine, RuntimeJob, Submission
from cm_exec.local_runtime.core.endpoints import V1, ProtocolDialect
from cm_exec.local_runtime.core.faults import Fault, ProtocolEndpoint
from cm_exec.local_runtime.core.functions import FunctionInfo
from cm_exec.local_runtime.core.worker_status import (
    ProcessState,
    ProcessStatus,
    ProtocolViolation,
    ServiceStatus,
    ViolationKind,
    WorkerState,
    WorkerStatus,
)
from cm_exec.local_runtime.feed import News, Notice, Subscriber
from cm_exec.local_runtime.listener import Listener, note_unknown_names
from cm_exec.local_runtime.loop_thread import Inbox, LoopThread
from cm_exec.local_runtime.protocol_api import ProtocolApi, WorkerRequest
from cm_exec.local_runtime.views import CallerOptions, RuntimeInfo
from cm_exec.local_runtime.worker_files import CONTAINER_HOST, LOCAL_NAMES, Style, WorkerFiles, load_identity

T = TypeVar("T")


class LocalRuntime:
    """A runtime to run a worker against.

        with LocalRuntime(directory) as runtime:
            worker = subprocess.Popen(["cm-exec"], env={**os.environ, **runtime.environment()})
            call = runtime.submit("double", b"21")
            assert call.wait(timeout=10).body == b"42"

    `directory` holds the CA, the tokens and the connection file, and large results while they are known; a second
    runtime with the same directory has the same CA and tokens. `max_concurrent_tasks` is the strict limit of
    outstanding jobs (with `strict=False` workers see it, and it is not enforced). `poll_wait` is the long poll's
    length in seconds; `max_result` the largest result in bytes, None for no limit; `history` how many ended jobs are
    known. With `listen=False` connections are refused until `resume`. `poll_timeout` is how long, in seconds, no poll
    may be open before that is a violation; `answer_grace` how long a job may be outstanding after its caller gave up.

    `address` is what the ports listen on, `names` are further host names of this machine, for certificate and Host.
    `plain_port` opens the plain API, on loopback only (0: any free port), `callers` the port for callers and the
    console. Without `sdk_errors` the error results of the official SDKs are results like others. Raises OSError when a
    port cannot be had.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_concurrent_tasks: int = 1,
        strict: bool = True,
        poll_wait: float = 5.0,
        max_result: int | None = None,
        history: int = 1000,
        poll_timeout: float = 10.0,
        answer_grace: float = 5.0,
        port: int = 0,
        address: str = "127.0.0.1",
        names: Sequence[str] = (),
        plain_port: int | None = None,
        listen: bool = True,
        faults: Sequence[Fault] = (),
        callers: CallerOptions | None = None,
        sdk_errors: bool = True,
    ) -> None:
        local_host = "localhost" if address in {"0.0.0.0", "::", "127.0.0.1"} else address  # noqa: S104 - compared
        hosts = [*LOCAL_NAMES, CONTAINER_HOST, "host.containers.internal", *names, local_host]
        identity = self._identity = load_identity(directory, hosts)
        limits = Limits(slots=max_concurrent_tasks if strict else None, history=history, answer_grace=answer_grace)
        self._broker = Broker(
            directory=identity.directory.parent, limits=limits, poll_timeout=poll_timeout, sdk_errors=sdk_errors
        )
        self._lines: Inbox[tuple[str | None, str, str]] = Inbox(lambda line: self._broker.write_log(*line))
        note_unknown_names(identity.tls, hosts)
        self._worker_ports, for_callers = self._bind(address, port, plain_port, callers)
        tls, *plain = self._worker_ports
        self.files = WorkerFiles(
            identity=identity,
            port=tls.port,
            slots=max_concurrent_tasks,
            host=names[0] if names else local_host,
            local_host=local_host,
            plain_port=plain[0].port if plain else None,
        )
        """Where token, CA and connection file are."""
        self._api = ProtocolApi(self._broker, self.files, poll_wait=poll_wait, max_result=max_result, faults=faults)
        self._info = RuntimeInfo(self._broker, self._api, self.files, callers or CallerOptions())
        self._caller_server = (
            None if for_callers is None else CallerServer(self._info, for_callers, address=address, names=names)
        )
        self.write_files()
        self._listen_at_start = listen
        self._thread: LoopThread | None = None

    def _bind(
        self, address: str, port: int, plain_port: int | None, callers: CallerOptions | None
    ) -> tuple[dict[Listener, ProtocolDialect], Listener | None]:
        """Bind the ports for workers, each with its API, and the one for callers: all, or none."""
        on_bad_connection = partial(self._broker.diagnosed, ViolationKind.CONNECTION)
        with ExitStack() as bound:

            def bind(listener: Listener) -> Listener:
                bound.callback(listener.release)
                return listener

            tls = Listener(host=address, port=port, tls=self._identity.tls, on_bad_connection=on_bad_connection)
            workers = {bind(tls): V1}
            if plain_port is not None:  # on loopback
                plain = Listener(port=plain_port, on_bad_connection=on_bad_connection)
                workers[bind(plain)] = self._identity.plain_dialect
            for_callers = None if callers is None else bind(Listener(host=address, port=callers.port))
            self._release_ports = bound.pop_all().close
            return workers, for_callers

    # Start and stop

    def start(self) -> None:
        """Serve, from a thread."""
        self._thread = LoopThread("local-runtime")
        self._broker.loop = self._thread.loop
        self._info.started = self._broker.clock()
        if self._listen_at_start:
            self.resume()
        if self._caller_server is not None:
            self._thread.run(self._caller_server.listener.open(self._caller_server.application))

    def stop(self) -> None:
        """Answer the open polls, end every connection, end the thread. Outstanding jobs count as unanswered."""
        thread = self._thread
        if thread is None:
            return
        self.pause(grace=1.0)
        thread.call(self._broker.close)
        if self._caller_server is not None:
            thread.run(self._caller_server.listener.close(grace=1.0))
        self._release_ports()
        thread.stop()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pause(self, *, grace: float = 0.0) -> None:
        """Be down: end connections (after `grace` seconds at most) and refuse new ones. Jobs stay as they are."""

        async def close() -> None:
            self._info.paused = True
            self._api.polls.stop()
            for listener in self._worker_ports:
                await listener.close(grace=grace)
            self._broker.worker.polls.forget()

        self._running().run(close())

    def resume(self) -> None:
        """Be up again, at the same ports."""

        async def open_() -> None:
            self._api.polls.start()
            for listener, dialect in self._worker_ports.items():
                await listener.open(self._api.application(dialect))
            self._info.paused = False

        self._running().run(open_())

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise RuntimeError("the runtime is not running")
        return self._thread

    # The settings of a worker

    @property
    def port(self) -> int:
        """The port of the TLS API."""
        return self.files.port

    @property
    def token(self) -> str:
        """The token that is accepted now."""
        return self._api.token

    def environment(self, style: Style = "modern") -> dict[str, str]:
        """Return the variables for a worker; nothing but them."""
        return self.files.variables(style)

    def rotate_token(self, *, write: bool = True, accept_old: bool = False) -> str:
        """Require a new token from now on, and return it; by default it is written to the files."""
        token = secrets.token_urlsafe(32)

        def rotate() -> None:
            self._api.replace_token(token, accept_old=accept_old)
            if write:
                self.write_files()

        self._running().call(rotate)
        return token

    def write_files(self) -> None:
        """Write token, CA and connection file (again)."""
        self.files.write(self.token)

    # The callers' port

    @property
    def callers(self) -> CallerServer:
        """The port for callers and the console. Raises RuntimeError if there is none."""
        if self._caller_server is None:
            raise RuntimeError("the runtime has no port for callers")
        return self._caller_server

    # Reports of the program that runs the worker

    def record_log(self, job_id: str | None, line: str, stream: str = "stderr") -> None:
        """Keep a line that a handler wrote, or the worker (with no job). From any thread; returns at once."""
        self._lines.put((job_id, line, stream), self._running())

    def declare_functions(self, functions: Mapping[str, FunctionInfo]) -> None:
        """Replace what is known of the functions of the worker's configuration."""
        self._running().call(lambda: self._broker.declare_functions(functions))

    def report_process(
        self, state: ProcessState, *, pid: int | None = None, command: str | None = None, exit_code: int | None = None
    ) -> None:
        """Report where the worker's process stands."""
        report = ProcessStatus(state=state, pid=pid, command=command, exit_code=exit_code)
        self._report(lambda worker, now: worker.report_process(report, now))

    def report_service(self, report: ServiceStatus) -> None:
        """Report the state of a service of the worker, or its last failure."""
        self._report(lambda worker, now: worker.report_service(report, now))

    def report_configuration(self, error: str | None) -> None:
        """Report what is wrong with the worker's configuration, None once it is right again."""
        self._report(lambda worker, _: setattr(worker, "configuration_error", error))

    def _report(self, change: Callable[[WorkerStatus, float], None]) -> None:
        self._running().call(lambda: self._broker.report(change))

    def hold(self) -> None:
        """Hand out no jobs for now, and answer the open polls: the worker is about to be replaced.

        Calls are queued as ever. A worker that polls in spite of it gets nothing, and soon.
        """
        self._running().call(self._api.hold)

    def release(self) -> None:
        """Hand out jobs again."""
        self._running().call(self._api.release)

    def worker_gone(self, reason: str = "the worker ended", only: Collection[str] | None = None) -> list[str]:
        """Report that the worker's process has ended: its outstanding jobs are lost, its silence is no violation.

        `only` are the ids of the jobs that it can have had, if another worker goes on. Returns the lost ones.
        """
        return self._running().call(lambda: self._broker.worker_gone(reason, only))

    # Calls, and faults of what serves them

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
        """Queue a job. `query` is JSON text, passed on byte for byte; `timeout` is the caller's, in seconds."""
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
        """Answer one poll with this body, whether it is a job or not, and return the call for its id `expect`."""
        call = Call(expect or str(uuid.uuid4()))

        def script() -> None:
            if expect is not None:
                self._broker.expect(call)
            self._api.script(body)

        self._running().call(script)
        return call

    def inject(self, *faults: Fault) -> None:
        """Add rules of what goes wrong from now on."""
        self._running().call(lambda: self._api.faults.faults.extend(faults))

    def set_faults(self, *texts: str) -> None:
        """Replace all rules by these texts (see `parse_fault`). Raises FaultSyntaxError."""
        self._running().call(lambda: self._api.faults.set(texts))

    # What happened

    @property
    def jobs(self) -> list[RuntimeJob]:
        """The jobs that are known, the oldest first."""
        return self._look(lambda: list(self._broker.ledger.jobs.values()))

    @property
    def violations(self) -> list[ProtocolViolation]:
        """The worker's protocol violations, the oldest first."""
        return self._look(lambda: list(self._broker.ledger.violations))

    @property
    def violation_count(self) -> int:
        """How many protocol violations there were."""
        return self._look(lambda: self._broker.ledger.violation_count)

    def log(self, job_id: str | None = None) -> list[LogLine]:
        """Return the kept lines of a job, the oldest first; without an id those of no job."""
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
        return self._look(lambda: list(self._api.requests))

    @property
    def open_polls(self) -> int:
        """How many polls are waiting for a job."""
        return self._look(lambda: self._api.polls.count)

    @property
    def worker_state(self) -> WorkerState:
        """What the polls show of the worker."""
        return self._look(self._broker.worker_state)

    def follow(self) -> Iterator[News]:
        """Yield what changes, with a first look at once, until the runtime stops."""
        thread, subscriber = self._running(), Subscriber()
        subscriber.publish(Notice.STATE)
        thread.call(lambda: self._broker.subscribers.add(subscriber))
        while not subscriber.closed:
            try:
                news = thread.run(subscriber.next())
            except RuntimeError:  # the loop has ended
                return
            yield news

    def count(self, endpoint: ProtocolEndpoint, status: int | None = None) -> int:
        """Return how many requests there were, of the last 10,000."""
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
