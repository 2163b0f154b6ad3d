"""A container that runs, as the platform runs it: PID 1, no privilege, nothing to write to."""

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
    """A `podman run` in the foreground: its exit status is the container's, its output the container's."""

    name: str
    pid_file: Path

    @property
    def pid(self) -> int:
        """PID 1 of the container, by its number on this machine."""
        wait_until(lambda: self._told_pid() or not self.is_running(), what="the start of the container")
        pid = self._told_pid()
        assert pid, f"podman ended with {self.process.returncode}: {self.log}"
        return int(pid)

    def end(self) -> None:
        """Whatever it does, it is over after this, and podman has removed it."""
        if self.is_running():
            with contextlib.suppress(AssertionError, ProcessLookupError):  # it never started, or has just ended
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait()
        self.process.kill()
        self.process.wait()

    def zombies(self) -> list[Process]:
        """Return the zombies that PID 1 should have reaped."""
        return [child for child in children(self.pid) if child.state == "Z"]

    def _told_pid(self) -> str:
        return self.pid_file.read_text().strip() if self.pid_file.exists() else ""
