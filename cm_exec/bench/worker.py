"""The worker that is measured: `cm-exec run` on a local runtime, its jobs and its memory."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

import msgspec

from cm_exec.devserver.worker_process import WorkerProcess, cm_exec_command, describe_exit, worker_environment
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import ResultSpool
from cm_exec.local_runtime.core import RuntimeJob
from cm_exec.processes.stdin_probe import descendants
from cm_exec.protocol import environment as names

_PROC: Final = Path("/proc")
_SAMPLE_SECONDS: Final = 0.2
"""Seconds between samples: each takes a millisecond or two from what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory in bytes: of the worker, and of all its handlers' processes together.

    Pages that several processes share are divided among them. None where the system does not report it.
    """

    worker: int | None = None
    handlers: int | None = None

    def peak(self, other: "Memory") -> "Memory":
        """Return the greater value of each."""
        return Memory(worker=_greater(self.worker, other.worker), handlers=_greater(self.handlers, other.handlers))


def _greater(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def memory_of(worker: int) -> Memory:
    """Return the current memory of a worker's process and of its descendants."""
    own_command = _command_line(worker)
    # until exec a child shares all memory with the worker: its command line is still the worker's
    sizes = [_proportional(pid) for pid in descendants(worker) if _command_line(pid) != own_command]
    known = [size for size in sizes if size is not None]
    return Memory(worker=_proportional(worker), handlers=sum(known) if known else None)


class MemoryWatch(threading.Thread):
    """Samples a worker's memory at intervals, inside its context, and keeps the `peak`."""

    def __init__(self, worker: int) -> None:
        super().__init__(name="memory", daemon=True)
        self._worker = worker
        self._ended = threading.Event()
        self.peak = Memory()

    def run(self) -> None:
        """Sample until the context ends, at least once."""
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        self.peak = self.peak.peak(memory_of(self._worker))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _command_line(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _proportional(pid: int) -> int | None:
    """Return the resident bytes with shared pages divided among their users, or plain RSS if the kernel has no PSS."""
    place = _PROC / str(pid)
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with suppress(OSError):
            lines = (place / name).read_text().splitlines()
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)
    return None


_TICK: Final = 0.1
"""Seconds between two calls of `on_tick` while a wait lasts."""

_LONGEST_STDERR: Final = 200


class MeasurementError(Exception):
    """The function, or the worker, fails. The text says how."""


@dataclass(frozen=True, slots=True)
class CompletedJob:
    """A job that ended: the seconds from its hand-out to its answer, and how it failed if it did."""

    seconds: float
    failure: str | None


class BenchJobs:
    """Calls of one function with one query. `on_tick` is called during each wait; what it raises ends the wait."""

    def __init__(self, runtime: LocalRuntime, function: str, query: bytes, on_tick: Callable[[], None]) -> None:
        self._runtime = runtime
        self._function = function
        self._query = query
        self._on_tick = on_tick
        self._completed: SimpleQueue[CompletedJob] = SimpleQueue()
        self.outstanding = 0
        """The number of jobs that have not ended."""

    def submit(self) -> None:
        """Queue one more job."""
        self.outstanding += 1
        self._runtime.submit(self._function, self._query).on_end(self._complete)

    def next(self, deadline: float) -> CompletedJob | None:
        """Return the next job that ends; None if none ends before `deadline` on the monotonic clock."""
        self._on_tick()
        while (left := deadline - time.monotonic()) > 0:
            try:
                completed = self._completed.get(timeout=min(left, _TICK))
            except Empty:
                self._on_tick()
            else:
                self.outstanding -= 1
                return completed
        return None

    def idle(self, seconds: float) -> None:
        """Submit nothing for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._on_tick()
            time.sleep(min(left, _TICK))

    def _complete(self, job: RuntimeJob, body: ResultSpool | None) -> None:
        """Note a job's end; the runtime's thread calls this."""
        failure = None
        if job.answer is None:
            failure = job.reason or f"the job is {job.state}"
        elif job.answer.failure is not None:
            failure = failure_text(job.answer.failure.message, body.content() if body else b"")
        began, ended = job.started or job.created, job.ended or job.created
        self._completed.put(CompletedJob(ended - began, failure))


def failure_text(message: str, body: bytes) -> str:
    """Describe an error result by its message and the last line of the handler's stderr, if it has one."""
    try:
        members: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        members = None
    stderr = members.get("stderr") if isinstance(members, dict) else None
    lines = stderr.strip().splitlines() if isinstance(stderr, str) else []
    return f"{message}; its stderr ends: {lines[-1][-_LONGEST_STDERR:].strip()}" if lines else message


_HIDDEN: Final = names.CONNECTION_VARIABLES | {
    names.MAX_CONCURRENT_TASKS,
    "CM_EXEC_TLS_SERVER_NAME",
    "CM_EXEC_DRAIN_TIMEOUT",
}
"""Variables of a worker in production that would keep this one away from the local runtime."""

_START_TIMEOUT: Final = 60.0
"""Seconds to the first poll, which persistent processes start before."""

_STOP_SECONDS: Final = 7.0
"""Seconds from SIGTERM to SIGKILL: the worker drains for one."""

_LOG_KEPT: Final = 20
"""Lines."""


class BenchWorker:
    """A worker that runs until the end of its context. `folder` is removed also if this process is killed."""

    def __init__(self, runtime: LocalRuntime, folder: Path, slots: int) -> None:
        self._runtime = runtime
        self._log: deque[str] = deque(maxlen=_LOG_KEPT)
        environment = worker_environment(runtime.environment(), _HIDDEN)
        options = ("--concurrency", str(slots), "--drain-timeout", "1")
        self._process = WorkerProcess(
            cm_exec_command(folder / "cm.toml", *options),
            environment,
            on_line=lambda entry: self._log.append(entry.text),
            folder=folder,
            signals_group=False,
        )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def wait_for_poll(self, on_tick: Callable[[], None]) -> None:
        """Return at its first poll. Raises MeasurementError if it ends instead, or needs too long."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._runtime.open_polls:
            self.check()
            if time.monotonic() > deadline:
                raise MeasurementError(f"the worker did not poll within {_START_TIMEOUT:g} s{self._log_end()}")
            on_tick()
            time.sleep(0.01)

    def check(self) -> None:
        """Raise MeasurementError if it has ended."""
        if self._process.exit_code is not None:
            raise MeasurementError(f"the worker {describe_exit(self._process.exit_code)}{self._log_end()}")

    def _log_end(self) -> str:
        text = "\n".join(self._log)
        return f"; its log ends: {text}" if text else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop(_STOP_SECONDS)
