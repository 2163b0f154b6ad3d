"""The processes that one handler process started, orphans among them, and their end.

As PID 1, or as a child subreaper, the launcher adopts each process whose parent has exited. All children of the
launcher that it did not start itself are such orphans. A tree ends with SIGTERM, a grace period and SIGKILL.
"""

import asyncio
import logging
import os
import select
import shutil
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from cm_exec.processes.launcher import process_tag

if TYPE_CHECKING:
    from cm_exec.processes.child import Child  # which has a tree

log: Final = logging.getLogger("cm_exec.handler")

_leaders: Final[set[int]] = set()
"""Process ids that the launcher started and has not reaped: `Child.exit_status` reaps them."""


class ProcessTree:
    """All processes that descend from one handler process, identified by its session or by the tag they inherit.

    The tree is in `registry` while one of its processes may run.
    """

    def __init__(self, leader: int, tag: int, registry: "set[ProcessTree]", folder: str | None = None) -> None:
        self.leader = leader
        self._tag = tag
        self._registry = registry
        self._folder = folder
        registry.add(self)
        _leaders.add(leader)

    def leader_exited(self) -> None:
        """Forget the leader's process id: the kernel may use it again."""
        _leaders.discard(self.leader)

    def unregister(self) -> None:
        """Leave the registry, and remove the tree's folder: no process of the tree runs any more."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._registry.discard(self)
        _leaders.discard(self.leader)

    def signal_group(self, number: int) -> None:
        """Send a signal to the leader's process group, if it still has members."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)

    def kill(self) -> None:
        """Send SIGKILL to the group and to all orphans."""
        self.signal_group(signal.SIGKILL)
        for orphan in self.orphans():
            orphan.send(signal.SIGKILL)
            orphan.close()

    def orphans(self) -> "list[Orphan]":
        """Return the running orphans of this tree. Also reaps exited orphans of any tree."""
        return [orphan for pid in _adopted() if (orphan := self._open(pid)) is not None]

    def _open(self, pid: int) -> "Orphan | None":
        orphan = Orphan(pid)
        if self._owns(pid) and orphan.is_running():  # still running: the id was not used again meanwhile
            return orphan
        orphan.close()
        return None

    def _owns(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.leader or process_tag(pid) == self._tag
        except OSError:
            return False


class Orphan:
    """One adopted process, held by a pidfd where possible, so that its id cannot come to mean another process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd: int | None = None
        with suppress(OSError, AttributeError):
            self.pidfd = os.pidfd_open(pid)

    def is_running(self) -> bool:
        """Return whether the process has not exited; a zombie has."""
        if self.pidfd is not None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return not poll.poll(0)
        try:
            return b") Z" not in Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        with suppress(OSError):
            if self.pidfd is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def reap_orphans() -> None:
    """Reap all adopted processes that have exited."""
    _adopted()


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


_children_fd: int | None = None
_FEW_CHILDREN: Final = 4096  # bytes; to provide a large buffer for each job takes 20 microseconds
_MANY_CHILDREN: Final = 1024 * 1024


def _adopted() -> list[int]:
    """Return the ids of the launcher's running children that it did not start itself."""
    global _children_fd  # noqa: PLW0603 - one descriptor for the life of the program: this is read for each job
    try:
        if _children_fd is None:
            main_thread = threading.main_thread().native_id
            _children_fd = os.open(f"/proc/self/task/{main_thread}/children", os.O_RDONLY | os.O_CLOEXEC)
        text = os.pread(_children_fd, _FEW_CHILDREN, 0)
        if len(text) == _FEW_CHILDREN:
            text = os.pread(_children_fd, _MANY_CHILDREN, 0)
        children = [int(pid) for pid in text.split()]
    except OSError:
        children = _children_by_scan()
    return [pid for pid in children if pid not in _leaders and not _reaped(pid)]


def _children_by_scan() -> list[int]:
    """Return all children, for kernels without a list of them (CONFIG_PROC_CHILDREN)."""
    own = os.getpid()
    with suppress(OSError):
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) == own]
    return []


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_bytes().rpartition(b") ")[2].split()[1])
    except (OSError, IndexError):
        return 0


_SCAN_SECONDS: Final = 0.02  # seconds between two looks at orphans, which have no event on the loop


class Graces(Struct, frozen=True, kw_only=True):
    """Seconds that processes get.

    `terminate`: between SIGTERM and SIGKILL. `kill`: after SIGKILL, until the launcher gives up on a process that the
    kernel does not end. `quiet`: how long a pipe that another process holds open must be silent after the exit.
    `held_pipe`: how long such a pipe is read at most.
    """

    terminate: float = 1.0
    kill: float = 5.0
    quiet: float = 1.0
    held_pipe: float = 10.0


class OrphanTerminator:
    """Terminates the orphans of a tree whose leader has exited.

    Two calls, so that the result is posted during the grace period.
    """

    def __init__(self, tree: ProcessTree, graces: Graces) -> None:
        self._tree = tree
        self._graces = graces
        self._known: dict[int, Orphan] = {}
        self._signal = signal.SIGTERM
        self._kill_at: float | None = None

    def begin(self) -> bool:
        """Send SIGTERM to all orphans; return whether there are any."""
        if self._scan():
            self._tree.signal_group(signal.SIGTERM)
            return True
        self._tree.unregister()
        return False

    async def finish(self) -> None:
        """Return when no process of the tree runs, or when the rest cannot be ended."""
        try:
            while self._running() or self._scan():
                if not self._escalate():
                    return
                await asyncio.sleep(_SCAN_SECONDS)
                self._scan()
        except asyncio.CancelledError:  # the worker ends, and with it every grace period
            self._tree.kill()
            raise
        finally:
            for orphan in self._known.values():
                orphan.close()
            self._tree.unregister()

    def _scan(self) -> bool:
        """Scan for orphans, send the signal to new ones, return whether any exist.

        A scan proves completion only if all known orphans had exited before it: a process may fork as its last act.
        One that forks at each SIGTERM is ended by the SIGKILL that a new orphan gets once the grace period is over.
        """
        found = self._tree.orphans()
        for orphan in found:
            known = self._known.get(orphan.pid)
            if known is not None and known.is_running():
                orphan.close()
                continue
            if known is not None:
                known.close()
            self._known[orphan.pid] = orphan
            orphan.send(self._signal)
        return bool(found)

    def _running(self) -> list[Orphan]:
        return [orphan for orphan in self._known.values() if orphan.is_running()]

    def _escalate(self) -> bool:
        """Send SIGKILL once the grace period is over; return False to give up."""
        now = asyncio.get_running_loop().time()
        if self._kill_at is None:
            self._kill_at = now + self._graces.terminate
        if now < self._kill_at:
            return True
        running = self._running()
        if now > self._kill_at + self._graces.kill:
            log.error("cannot end processes %s; giving up on them", [orphan.pid for orphan in running])
            return False
        self._signal = signal.SIGKILL
        self._tree.signal_group(self._signal)
        for orphan in running:
            orphan.send(self._signal)
        return True


async def terminate_all(children: Iterable["Child"], graces: Graces) -> None:
    """End children that may still run, with their trees, and close their descriptors."""
    await asyncio.gather(*(_terminate(child, graces) for child in children))


async def _terminate(child: "Child", graces: Graces) -> None:
    child.close_stdin()
    child.terminate()
    if not await _exits_within(child, graces.terminate):
        child.kill()
        await _exits_within(child, graces.kill)
    terminator = OrphanTerminator(child.tree, graces)
    remaining = terminator.begin()
    child.close()
    if remaining:
        await terminator.finish()


async def _exits_within(child: "Child", seconds: float) -> bool:
    if child.exit_status() is not None:
        return True
    loop = asyncio.get_running_loop()
    exited = loop.create_future()

    def on_exit() -> None:
        if child.exit_status() is not None and not exited.done():
            exited.set_result(None)

    child.exit_watch.start(loop, on_exit)
    try:
        async with asyncio.timeout(seconds):
            await exited
    except TimeoutError:
        return False
    finally:
        child.exit_watch.stop(loop)
    return True
