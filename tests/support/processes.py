"""Read processes from /proc: their parents, a mark in their environment, and their use of CPU and memory."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "CM_TEST_MARK"
"""The variable by which a test finds every process that came from its worker."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process at the time when /proc was read. `state` is the kernel's letter, such as "Z"."""

    pid: int
    parent: int
    state: str
    command: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.state}) {self.command}"


def marked(mark: str, folder: Path) -> list[Process]:
    """Return the living processes with `mark` in their environment, or `folder` as theirs or in their command."""
    found = (_read(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [p for p in found if p and p.pid != os.getpid() and p.state != "Z" and _belongs(p.pid, mark, folder)]


def children(pid: int) -> list[Process]:
    """Return the direct children of a process, including zombies."""
    found = (_read(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [p for p in found if p and p.parent == pid]


def has_ended(pid: int) -> bool:
    """Return whether a process is a zombie or gone. A process that is being killed loses its command line before."""
    process = _read(pid)
    return process is None or process.state == "Z"


def pid_namespace(pid: int) -> str:
    """Return the kernel's name of the PID namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def inhabitants(namespace: str) -> list[Process]:
    """Return the processes of a PID namespace without zombies, which have left it."""
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [found for pid in pids if _lives_in(pid, namespace) and (found := _read(pid))]


def peak_memory(pid: int) -> int:
    """Return the peak resident memory of a process in bytes."""
    return _status_kib(pid, "VmHWM") << 10


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    fields = _stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def signal_is_pending(pid: int, number: int) -> bool:
    """Return whether a signal is pending for the process."""
    return any(_status_hex(pid, name) >> (number - 1) & 1 for name in ("SigPnd", "ShdPnd"))


def wait_until(condition: Callable[[], object], *, what: str, seconds: float = 30.0) -> None:
    """Poll until the condition holds. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.01)


def _belongs(pid: int, mark: str, folder: Path) -> bool:
    place = Path(f"/proc/{pid}")
    try:
        if f"{MARK}={mark}".encode() in place.joinpath("environ").read_bytes().split(b"\0"):
            return True
        if str(folder).encode() in place.joinpath("cmdline").read_bytes():
            return True
        return place.joinpath("cwd").resolve().is_relative_to(folder)
    except OSError:
        return False


def _lives_in(pid: int, namespace: str) -> bool:
    try:
        return pid_namespace(pid) == namespace
    except OSError:
        return False


def _read(pid: int) -> Process | None:
    try:
        state, parent = _stat_fields(pid)[:2]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (OSError, ValueError):
        return None
    return Process(pid=pid, parent=int(parent), state=state, command=command.strip())


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command, which may contain blanks."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


def _status_kib(pid: int, name: str) -> int:
    return int(_status(pid, name).split()[0])


def _status_hex(pid: int, name: str) -> int:
    return int(_status(pid, name), 16)
