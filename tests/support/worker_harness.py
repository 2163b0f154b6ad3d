"""A scripted runtime, a replica's files and the workers of one test, and the checks at its end."""

import os
import pty
import signal
import subprocess
import termios
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import MARK, marked, wait_until
from tests.support.replica import Replica, clean_environment
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.worker import CM_EXEC, Worker, start_worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHarness:
    """`folder` has cm.toml and is the working directory of the worker; `replica` is beside it."""

    folder: Path
    runtime: ScriptedRuntime
    replica: Replica
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    workers: list[Worker] = field(default_factory=list)

    def environment(self, connection: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of the worker: the minimum, and the connection (default: today's variables)."""
        connection = self.replica.modern() if connection is None else connection
        return {**clean_environment(self.folder.parent), **connection, MARK: self.mark}

    def write(self, config: str) -> None:
        self.folder.joinpath("cm.toml").write_text(config)

    def launch(
        self,
        config: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        stdout: int | None = None,
    ) -> Worker:
        """Start `cm-exec run ARGUMENTS` and do not wait for it."""
        self.write(config)
        worker = start_worker(
            runtime=self.runtime,
            folder=self.folder,
            mark=self.mark,
            environment=self.environment() if environment is None else environment,
            arguments=("run", *arguments),
            wrapper=wrapper,
            stdout=stdout,
            name=f"worker-{len(self.workers)}",
        )
        self.workers.append(worker)
        return worker

    def start(self, config: str, *arguments: str, **options: Any) -> Worker:
        """Do the same as `launch`, and wait for the first poll."""
        worker = self.launch(config, *arguments, **options)
        worker.wait_until_ready()
        return worker

    def cm_exec(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run another command of the program to its end; without a runtime in its environment."""
        return subprocess.run(
            [CM_EXEC, *arguments],
            cwd=self.folder,
            env={**self.environment({}), **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )

    def cm_exec_on_terminal(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run another command with stderr, and `run` with stdout, too, on a terminal; what that shows is `stderr`."""
        terminal, its = pty.openpty()
        termios.tcsetwinsize(its, (24, 80))
        shown = bytearray()
        with subprocess.Popen(
            [CM_EXEC, *arguments],
            cwd=self.folder,
            env=self.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=its if arguments[:1] == ("run",) else subprocess.PIPE,
            stderr=its,
            start_new_session=True,
        ) as process:
            os.close(its)
            with suppress(OSError):  # the terminal is gone when the program has ended
                while chunk := os.read(terminal, 4096):
                    shown += chunk
            stdout = process.stdout.read() if process.stdout else b""
            process.wait(timeout=60)
        os.close(terminal)
        return subprocess.CompletedProcess(
            process.args, process.returncode, stdout, bytes(shown).replace(b"\r\n", b"\n")
        )

    def interrupt(self, *arguments: str, number: signal.Signals = signal.SIGINT) -> subprocess.CompletedProcess[bytes]:
        """Run another command, and send it a signal once its handler has written the file `started`."""
        with subprocess.Popen(
            [CM_EXEC, *arguments],
            cwd=self.folder,
            env=self.environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            wait_until(self.folder.joinpath("started").exists, what="the handler's start")
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
        assert b"Traceback" not in stderr
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def finish(self) -> None:
        """Stop everything, and check what must hold at the end of a worker."""
        faults = [fault for worker in self.workers if (fault := _stop(worker))]
        faults += self._leftovers()
        faults += [f"left in TMPDIR: {path.name}" for path in (self.folder.parent / "tmp").glob("*")]
        assert not faults, "\n".join(faults)

    def _leftovers(self) -> list[str]:
        try:
            wait_until(lambda: not marked(self.mark, self.folder), what="the end of all processes", seconds=5)
        except AssertionError:
            return [f"left behind: {_kill(p.pid)} {p}" for p in marked(self.mark, self.folder)]
        return []


def _stop(worker: Worker) -> str | None:
    if not worker.is_running():
        return None
    try:
        status = worker.stop()
    except (subprocess.TimeoutExpired, AssertionError) as error:
        return f"the worker did not stop: {error}"
    finally:
        worker.end()
    return f"the worker stopped with {status}" if status else None


def _kill(pid: int) -> str:
    os.kill(pid, signal.SIGKILL)
    return "killed"
