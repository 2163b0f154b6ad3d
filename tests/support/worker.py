"""Run the installed `cm-exec run` as a process."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import Process, children, marked, signal_is_pending, wait_until
from tests.support.scripted_runtime import ScriptedRuntime

CM_EXEC: Final = str(Path(sys.executable).with_name("cm-exec"))
"""The console script beside the interpreter that runs the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A started worker. Its output goes to files, so that no output blocks it or is lost."""

    process: subprocess.Popen[bytes]
    runtime: ScriptedRuntime
    stdout_file: Path
    stderr_file: Path
    mark: str
    folder: Path
    is_wrapped: bool

    @property
    def pid(self) -> int:
        """The pid of the launcher itself, without its wrapper."""
        if not self.is_wrapped:
            return self.process.pid
        below = children(self.process.pid)
        return below[0].pid if below else self.process.pid

    @property
    def stdout(self) -> str:
        return self.stdout_file.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_file.read_text(errors="replace")

    @property
    def log(self) -> str:
        """The whole output of the worker."""
        return self.stdout + self.stderr

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait for the first poll. Raises AssertionError with the log if the worker ends before."""
        polled = self.runtime.request_log.wait_for(
            lambda: "polled" if self.runtime.request_log.open_polls() else not self.is_running() and "ended",
            what="the first poll",
        )
        assert polled == "polled", f"the worker ended with {self.process.returncode}:\n{self.log}"

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log, what=f"{text!r} in the log")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal and wait until the launcher has received it."""
        pid = self.pid
        os.kill(pid, number)
        with contextlib.suppress(OSError):
            wait_until(lambda: not signal_is_pending(pid, number), what="taking the signal")

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end, and return the exit status, -N after signal N."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Let the worker drain, respond to the open poll at once, and return the exit status."""
        self.runtime.release_polls()
        if self.is_running():
            self.terminate()
        return self.wait()

    def end(self) -> None:
        """End the worker, whatever it does."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def descendants(self) -> list[Process]:
        """Return the running processes of the worker's handlers."""
        own = {self.process.pid, self.pid}
        return [p for p in marked(self.mark, self.folder) if p.pid not in own]

    def wait_until_alone(self, seconds: float = 10) -> None:
        """Wait until no process of a handler is left."""
        wait_until(lambda: not self.descendants(), what=f"the end of {self.descendants()}", seconds=seconds)


def start_worker(
    *,
    runtime: ScriptedRuntime,
    folder: Path,
    mark: str,
    environment: Mapping[str, str],
    arguments: Sequence[str] = ("run",),
    wrapper: Sequence[str] = (),
    stdout: int | None = None,
    name: str = "worker",
) -> Worker:
    """Start a worker in `folder`. `stdout` is a descriptor that replaces the file."""
    stdout_file, stderr_file = folder / f"{name}.stdout", folder / f"{name}.stderr"
    with stdout_file.open("wb") as out, stderr_file.open("wb") as err:
        process = subprocess.Popen(
            [*wrapper, CM_EXEC, *arguments],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out if stdout is None else stdout,
            stderr=err,
            start_new_session=True,  # a handler that kills its group must not reach the tests
        )
    return Worker(
        process=process,
        runtime=runtime,
        stdout_file=stdout_file,
        stderr_file=stderr_file,
        mark=mark,
        folder=folder,
        is_wrapped="--fork" in wrapper,
    )
