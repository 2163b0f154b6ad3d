"""Ending what a handler left behind: SIGTERM, a short grace, SIGKILL, until nothing of it is alive."""

import logging
import select
import signal
import time
from typing import Final

from cm_exec.handlers.orphans import Family, Orphan

GRACE: Final = 1.0
"""Seconds between SIGTERM and SIGKILL."""

GIVE_UP: Final = 5.0
"""Seconds after SIGKILL at which a process that the kernel does not let go of is given up."""

log: Final = logging.getLogger(__name__)


class Leftovers:
    """What outlived a handler whose first process has ended.

    Two steps, so that the result can be posted in the grace between them.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._known: dict[int, Orphan] = {}
        self._kill_at = 0.0

    def terminate(self) -> None:
        """Send SIGTERM to what is left, if anything is."""
        if self._look():
            self._family.signal_group(signal.SIGTERM)

    def finish(self) -> None:
        """Return when nothing is left, or what is left cannot be ended."""
        try:
            while self._alive() or self._look():
                if not self._press():
                    return
        finally:
            for orphan in self._known.values():
                orphan.close()
            self._family.dissolve()

    def _look(self) -> bool:
        """Look for orphans and ask those that are new to end; whether there are any.

        Only a look that began when all that were known had ended can say that nothing is left: the last thing that
        a process does may be to start its successor.
        """
        found = self._family.orphans()
        if found and not self._kill_at:
            self._kill_at = time.monotonic() + GRACE
        for orphan in found:
            known = self._known.get(orphan.pid)
            if known is not None and known.is_alive():
                orphan.close()
                continue
            if known is not None:
                known.close()
            self._known[orphan.pid] = orphan
            orphan.send(signal.SIGTERM)
        return bool(found)

    def _alive(self) -> list[Orphan]:
        return [orphan for orphan in self._known.values() if orphan.is_alive()]

    def _press(self) -> bool:
        """Wait for one to end, or end them all when their grace is over; False to give up."""
        grace_left = self._kill_at - time.monotonic()
        alive = self._alive()
        if grace_left < -GIVE_UP:
            log.error("processes %s do not end and are given up", [orphan.pid for orphan in alive])
            return False
        if grace_left <= 0:
            self._family.signal_group(signal.SIGKILL)
            for orphan in alive:
                orphan.send(signal.SIGKILL)
        _wait_for_one(alive, grace_left if grace_left > 0 else 0.1)
        self._look()
        return True


def _wait_for_one(orphans: list[Orphan], seconds: float) -> None:
    """Wait until one has ended: what it leaves behind is adopted then, and must be looked for again."""
    ends = select.poll()
    pidfds = [orphan.pidfd for orphan in orphans if orphan.pidfd is not None]
    for pidfd in pidfds:
        ends.register(pidfd, select.POLLIN)
    # without pidfds there is nothing to wait on, and the list of orphans is looked at again and again
    if orphans:
        ends.poll((seconds if pidfds else min(seconds, 0.02)) * 1000)
