"""Processes that a handler left behind: found, ended and reaped.

As PID 1, or as a child subreaper, the launcher becomes the parent of whatever a handler's process leaves when it
ends. The kernel hands them to the launcher's first thread. That thread never starts a process itself, so its
children are exactly the adopted ones; the threads that run jobs own the rest.
"""

import ctypes
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_WNOTHREAD: Final = 0x20000000  # linux/wait.h: only the children of the calling thread


def become_subreaper() -> bool:
    """Adopt what handlers leave behind; False where the system has no such thing (macOS, old gVisor)."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def reap_adopted() -> None:
    """Take the exit status of every adopted process that has ended. Called by the first thread, now and then."""
    options = os.WNOHANG | (_WNOTHREAD if sys.platform.startswith("linux") else 0)
    if options == os.WNOHANG:
        return  # elsewhere nothing is adopted, and a wait for any child would take the jobs' exit statuses
    with suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


class Family:
    """How one handler's processes are known: by its session, or by a variable of its environment.

    `leader` is the process id of the handler, which leads a session of its own. `marker` is `NAME=value`, a
    variable that only its processes have; it finds those that left the session. The family stands in `register`
    as long as one of them may be alive.
    """

    def __init__(self, leader: int, marker: bytes, register: "set[Family]") -> None:
        self.leader = leader
        self._marker = marker
        self._register = register
        register.add(self)

    def dissolve(self) -> None:
        """None is alive any more."""
        self._register.discard(self)

    def signal_group(self, number: int) -> None:
        """Send a signal to the handler's process group, if there is anyone left in it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)

    def kill(self) -> None:
        """End the group and all orphans, without asking."""
        self.signal_group(signal.SIGKILL)
        for orphan in self.orphans():
            orphan.send(signal.SIGKILL)
            orphan.close()

    def orphans(self) -> list["Orphan"]:
        """The processes of this family that outlived their parent; empty, quickly, in the usual case.

        Adopted processes that have ended are reaped on the way, whosever they were.
        """
        return [orphan for pid in _adopted() if (orphan := self._open(pid)) is not None]

    def _open(self, pid: int) -> "Orphan | None":
        orphan = Orphan(pid)
        if self._owns(pid) and orphan.is_alive():  # alive after the look: it was this process that was looked at
            return orphan
        orphan.close()
        return None

    def _owns(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.leader or self._marker in _environ(pid) or _is_dying(pid)
        except OSError:
            return False


class Orphan:
    """One adopted process, held by a pidfd where there are pidfds, so that its number cannot come to mean another."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd: int | None = None
        with suppress(OSError, AttributeError):
            self.pidfd = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        """Whether the process has not ended; one that ended and is not reaped yet is not alive."""
        if self.pidfd is not None:
            end = select.poll()
            end.register(self.pidfd, select.POLLIN)
            return not end.poll(0)
        try:
            return b") Z" not in Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        with suppress(OSError):
            if self.pidfd is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Let go of the process."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _environ(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _is_dying(pid: int) -> bool:
    """Whether a process has given its memory back, and its environment with it: nobody knows whose it was.

    It may have started a successor, so that its end is waited for.
    """
    return Path(f"/proc/{pid}/statm").read_bytes().startswith(b"0 ")


_children_fd: int | None = None


def _adopted() -> list[int]:
    global _children_fd  # noqa: PLW0603 - one descriptor for the life of the program: this is read for each job
    try:
        if _children_fd is None:
            first_thread = threading.main_thread().native_id
            _children_fd = os.open(f"/proc/self/task/{first_thread}/children", os.O_RDONLY | os.O_CLOEXEC)
        listed = os.pread(_children_fd, 65536, 0)
    except OSError:
        return _children_by_scan()
    return [pid for pid in map(int, listed.split()) if not _reaped(pid)]


def _children_by_scan() -> list[int]:
    """All children of the launcher, where the kernel keeps no list of them (CONFIG_PROC_CHILDREN).

    The jobs' own processes are among them, so none is reaped here.
    """
    own = os.getpid()
    with suppress(OSError):
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) == own]
    return []


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_bytes().rpartition(b") ")[2].split()[1])
    except (OSError, IndexError):
        return 0
