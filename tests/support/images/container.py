"""Run a container as the platform does: PID 1, without privileges, with a read-only root."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, children, wait_until
from tests.support.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Worker):
    """A `podman run` in the foreground, with the container's exit status and output."""

    name: str
    pid_file: Path

    @property
    def pid(self) -> int:
        """The container's PID 1, by its number on this machine."""
        wait_until(lambda: self._told_pid() or not self.is_running(), what="the start of the container")
        pid = self._told_pid()
        assert pid, f"podman ended with {self.process.returncode}: {self.log}"
        return int(pid)

    def end(self) -> None:
        """End the container, and wait until podman has removed it."""
        if self.is_running():
            with contextlib.suppress(AssertionError, ProcessLookupError):  # it never started, or has just ended
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait()
        self.process.kill()
        self.process.wait()

    def zombies(self) -> list[Process]:
        """Return the zombies that PID 1 has not reaped."""
        return [child for child in children(self.pid) if child.state == "Z"]

    def _told_pid(self) -> str:
        return self.pid_file.read_text().strip() if self.pid_file.exists() else ""
