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
        self._asked: set[int] = set()
        self._kill_at = 0.0

    def terminate(self) -> None:
        """Send SIGTERM to what is left, if anything is."""
        orphans = self._family.orphans()
        if not orphans:
            return
        self._kill_at = time.monotonic() + GRACE
        self._family.signal_group(signal.SIGTERM)
        self._ask(orphans)
        _close_all(orphans)

    def finish(self) -> None:
        """Return when nothing is left, or what is left cannot be ended."""
        if self._asked:
            self._finish()
        self._family.dissolve()

    def _finish(self) -> None:
        while orphans := self._family.orphans():
            grace_left = self._kill_at - time.monotonic()
            if grace_left > 0:
                self._ask(orphans)
                _wait_for_one(orphans, grace_left)
            else:
                self._family.signal_group(signal.SIGKILL)
                for orphan in orphans:
                    orphan.send(signal.SIGKILL)
                _wait_for_one(orphans, 0.1)
            _close_all(orphans)
            if grace_left < -GIVE_UP:
                log.error("processes %s do not end and are given up", [orphan.pid for orphan in orphans])
                return

    def _ask(self, orphans: list[Orphan]) -> None:
        for orphan in orphans:
            if orphan.pid not in self._asked:
                self._asked.add(orphan.pid)
                orphan.send(signal.SIGTERM)


def _wait_for_one(orphans: list[Orphan], seconds: float) -> None:
    """Wait until one has ended: what it leaves behind is adopted then, and must be looked for again."""
    ends = select.poll()
    pidfds = [orphan.pidfd for orphan in orphans if orphan.pidfd is not None]
    for pidfd in pidfds:
        ends.register(pidfd, select.POLLIN)
    # without pidfds there is nothing to wait on, and the list of orphans is looked at again and again
    ends.poll((seconds if pidfds else min(seconds, 0.02)) * 1000)


def _close_all(orphans: list[Orphan]) -> None:
    for orphan in orphans:
        orphan.close()
