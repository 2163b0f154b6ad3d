"""Jobs whose delivery broke off: nobody knows whether the runtime will hand them out again."""

import time
from collections.abc import Callable
from typing import Final

REDELIVERY: Final = 10.0
"""Seconds in which the runtime may hand out a job again, before it is answered with an error."""


class TornJobs:
    """The ids that were read from the beginning of a job whose rest never came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def add(self, job_id: str) -> None:
        """A delivery of this job broke off."""
        self._since.setdefault(job_id, self._clock())

    def came(self, job_id: str | None) -> None:
        """The job was handed out again, whole."""
        if job_id is not None:
            self._since.pop(job_id, None)

    def overdue(self, *, after: float = REDELIVERY) -> list[str]:
        """Take out the ids that were not handed out again in time."""
        now = self._clock()
        ids = [job_id for job_id, since in self._since.items() if now - since >= after]
        for job_id in ids:
            del self._since[job_id]
        return ids
