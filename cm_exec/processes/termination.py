"""End processes: SIGTERM, a grace period, SIGKILL, until nothing of a process tree runs."""

import asyncio
import logging
import signal
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from cm_exec.processes.child import Child
from cm_exec.processes.tree import Orphan, ProcessTree

log: Final = logging.getLogger("cm_exec.handler")

_POLL: Final = 0.02  # seconds between two looks at orphans, which have no event on the loop


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
                await asyncio.sleep(_POLL)
                self._scan()
        finally:
            for orphan in self._known.values():
                orphan.close()
            self._tree.unregister()

    def _scan(self) -> bool:
        """Scan for orphans, send SIGTERM to new ones, return whether any exist.

        A scan proves completion only if all known orphans had exited before it: a process may fork as its last act.
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
            orphan.send(signal.SIGTERM)
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
        self._tree.signal_group(signal.SIGKILL)
        for orphan in running:
            orphan.send(signal.SIGKILL)
        return True


async def terminate_all(children: Iterable[Child], graces: Graces) -> None:
    """End children that may still run, with their trees, and close their descriptors."""
    await asyncio.gather(*(_terminate(child, graces) for child in children))


async def _terminate(child: Child, graces: Graces) -> None:
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


async def _exits_within(child: Child, seconds: float) -> bool:
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
