"""The parts of the local runtime, put together, started and stopped."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core.faults import Fault, FaultPlan, ProtocolEndpoint
from cm_exec.local_runtime.core.job import Limits
from cm_exec.local_runtime.http.caller_api import CONSOLE
from cm_exec.local_runtime.http.caller_server import CallerServer
from cm_exec.local_runtime.http.listener import Listener
from cm_exec.local_runtime.http.protocol_api import ProtocolApi
from cm_exec.local_runtime.http.runtime_info import RuntimeInfo
from cm_exec.local_runtime.loop_thread import LoopThread
from cm_exec.local_runtime.worker_files import WorkerFiles, create_folder, issue_certificates

_REQUESTS_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRequest:
    """A request of a worker. `at` in seconds since the epoch; `status` is 0 where a fault left it unanswered."""

    at: float
    endpoint: ProtocolEndpoint
    status: int


class Engine:
    """A runtime that can be started and stopped; what its arguments mean stands at LocalRuntime.

    Raises OSError when a port cannot be had.
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
        listen: bool = True,
        faults: Sequence[Fault] = (),
        caller_port: int | None = None,
        call_timeout: float | None = 60.0,
        programs_need_token: bool = False,
        console: Path = CONSOLE,
    ) -> None:
        folder = create_folder(directory)
        certificates = issue_certificates()
        slots = max_concurrent_tasks if strict else None
        limits = Limits(slots=slots, history=history, answer_grace=answer_grace)
        self._ca = certificates.ca
        self._token = secrets.token_urlsafe(32)
        self._requests: list[WorkerRequest] = []
        self._broker = Broker(directory=folder.parent, limits=limits, clock=_clock(), poll_timeout=poll_timeout)
        self._api = ProtocolApi(
            self._broker,
            tokens={self._token.encode()},
            poll_wait=poll_wait,
            max_result=max_result,
            faults=FaultPlan(list(faults)),
            on_request=self._note_request,
        )
        self._broker.on_slot_free = self._api.polls.offer
        self._listener = Listener(port=port, tls=certificates.server)
        self._environment = WorkerFiles(directory=folder, port=self._listener.port, slots=max_concurrent_tasks)
        self._environment.write(token=self._token, ca=self._ca)
        self._info = RuntimeInfo(self._broker, self._api, self._environment, strict=strict, call_timeout=call_timeout)
        self._caller_server: CallerServer | None = None
        if caller_port is not None:
            self._caller_server = self._open_desk(caller_port, console, programs_need_token=programs_need_token)
        self._listen_at_start = listen
        self._thread: LoopThread | None = None

    def _open_desk(self, port: int, console: Path, *, programs_need_token: bool) -> CallerServer:
        try:
            return CallerServer(self._info, port=port, console=console, programs_need_token=programs_need_token)
        except OSError:
            self._listener.release()
            raise

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
        """Answer the open polls, end every connection, end the thread. What is out counts as unanswered."""
        thread = self._thread
        if thread is None:
            return
        self.pause(grace=1.0)
        thread.call(self._broker.close)
        self._listener.release()
        if self._caller_server is not None:
            thread.run(self._caller_server.listener.close(grace=1.0))
            self._caller_server.listener.release()
        thread.stop()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pause(self, *, grace: float = 0.0) -> None:
        """Be down: connections are ended (after `grace` seconds at most) and refused. Jobs stay as they are."""

        async def close() -> None:
            self._info.paused = True
            self._api.polls.stop()
            await self._listener.close(grace=grace)
            self._broker.polls.forget()

        self._running().run(close())

    def resume(self) -> None:
        """Be up again, at the same port."""

        async def open_() -> None:
            self._api.polls.start()
            await self._listener.open(self._api)
            self._info.paused = False

        self._running().run(open_())

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise RuntimeError("the runtime is not running")
        return self._thread

    def _note_request(self, endpoint: ProtocolEndpoint, status: int) -> None:
        self._requests.append(WorkerRequest(at=self._broker.clock(), endpoint=endpoint, status=status))
        if len(self._requests) > _REQUESTS_KEPT * 2:
            del self._requests[:_REQUESTS_KEPT]


def _clock() -> Callable[[], float]:
    """Seconds since the epoch that never go back."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
