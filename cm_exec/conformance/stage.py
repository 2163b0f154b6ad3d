"""A runtime and a worker, on which one rule is played."""

import json
import signal
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cm_exec.devserver.worker_process import (
    WorkerProcess,
    describe_exit,
    parse_foreign_line,
    worker_environment,
)
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import Call, NoResultError
from cm_exec.local_runtime.core.faults import ProtocolEndpoint
from cm_exec.local_runtime.worker_files import Style

WAIT: Final = 15.0
"""Seconds that a worker has for a step."""
_EXIT: Final = 35.0
"""Seconds that a worker has to end after SIGTERM."""
_LOG_KEPT: Final = 50


class RuleBrokenError(Exception):
    """Raised when the worker does not do what a rule asks. Its text says what it did instead."""


def is_same(one: Any, other: Any) -> bool:
    """Compare JSON values. In Python alone True is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    return bool(one == other)


class NoPollError(RuleBrokenError):
    """Raised when the worker runs and does not poll, so that there is nothing to judge."""


class Stage:
    """One runtime, whose worker is started by `start`. `options` are those of LocalRuntime."""

    def __init__(self, command: Sequence[str], style: Style, *, start_timeout: float, **options: Any) -> None:
        self._start_timeout = start_timeout
        self._command = command
        self._style: Style = style
        self._folder = tempfile.TemporaryDirectory(prefix="cm-exec-conform-", ignore_cleanup_errors=True)
        settings = {"max_concurrent_tasks": 1, "poll_timeout": 60.0, **options}
        self.runtime = LocalRuntime(Path(self._folder.name), plain_port=0, **settings)
        self.log: deque[str] = deque(maxlen=_LOG_KEPT)
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        try:
            self.runtime.start()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self.runtime.stop()
        self._folder.cleanup()

    def end(self) -> None:
        """End all processes of the worker, and remove the files."""
        for worker in tuple(self._workers):
            worker.kill()
            worker.wait(WAIT)
        self._folder.cleanup()

    @property
    def worker(self) -> WorkerProcess:
        """The worker that was started last."""
        return self._workers[-1]

    def start(self) -> None:
        """Start the worker, and wait for nothing."""
        worker = WorkerProcess(
            self._command,
            worker_environment(self.runtime.environment(self._style)),
            on_line=lambda entry: self.log.append(entry.text),
            parse=parse_foreign_line,
            folder=Path(self._folder.name),
            signals_group=False,
        )
        self._workers.append(worker)

    def ready(self) -> None:
        """Start the worker, and wait for its first poll. Raises RuleBrokenError."""
        self.start()
        try:
            self.wait(lambda: self.runtime.open_polls > 0, "did not poll", self._start_timeout)
        except RuleBrokenError as broken:
            why = "; ".join(dict.fromkeys(each.message for each in self.runtime.violations))
            sentence = f"{broken}{f': {why}' if why else ''}"
            raise RuleBrokenError(sentence) if self.worker.exit_code is not None else NoPollError(sentence) from None

    def wait(self, true: Callable[[], bool], otherwise: str, seconds: float = WAIT) -> None:
        """Wait until something is the case. Raises RuleBrokenError."""
        deadline = time.monotonic() + seconds
        while not true():
            if self.worker.exit_code is not None:
                raise RuleBrokenError(f"the worker {describe_exit(self.worker.exit_code)}")
            if time.monotonic() > deadline:
                raise RuleBrokenError(f"{otherwise} within {seconds:g} s")
            time.sleep(0.005)

    def submit(self, value: Any, *, function: str = "echo") -> Call:
        """Queue a job whose result is to be the value."""
        return self.runtime.submit(function, json.dumps(value).encode())

    def expect_echo(self, call: Call, value: Any, *, seconds: float = WAIT) -> None:
        """Wait for the right result. Raises RuleBrokenError."""
        found = self.answer(call, seconds=seconds)
        try:
            same = is_same(json.loads(found), value)
        except ValueError:
            same = False
        if not same:
            raise RuleBrokenError(f"answered {found[:120].decode(errors='replace')!r} instead of the query")

    def answer(self, call: Call, *, seconds: float = WAIT) -> bytes:
        """Wait for any result. Raises RuleBrokenError."""
        self.wait(lambda: call.done or self.worker.exit_code is not None, "did not answer", seconds)
        if not call.done:
            raise RuleBrokenError(f"the worker {describe_exit(self.worker.exit_code)}, and the job has no answer")
        try:
            return call.wait(0).body
        except NoResultError as error:
            raise RuleBrokenError(str(error)) from None

    def echo(self, *, seconds: float = WAIT) -> None:
        """Call once, to see that the worker still works."""
        value = {"value": str(uuid.uuid4())}
        self.expect_echo(self.submit(value), value, seconds=seconds)

    def results(self) -> int:
        """Return how many results were posted, those that a fault refused included."""
        return self.runtime.count(ProtocolEndpoint.RESULT)

    def polls(self) -> int:
        """Return how many polls were answered."""
        return self.runtime.count(ProtocolEndpoint.POLL)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.worker.kill()
        self.worker.wait(WAIT)

    def expect_exit_0(self) -> float:
        """Wait for the end, and return the seconds to it. Raises RuleBrokenError."""
        began = time.monotonic()
        if not self.worker.wait(_EXIT):
            raise RuleBrokenError(f"did not end within {_EXIT:g} s after SIGTERM")
        code = self.worker.exit_code
        if code != 0:
            detail = " at once, without a handler for it" if code == -signal.SIGTERM else ""
            raise RuleBrokenError(f"{describe_exit(code)}{detail}")
        return time.monotonic() - began
