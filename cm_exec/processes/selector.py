"""The selector of the event loop, with fewer questions to the kernel."""

import selectors
from typing import Final

_SKIPS: Final = 8
"""Rounds of ready callbacks after which the kernel is asked all the same, so that no descriptor waits for long."""

_Events = list[tuple[selectors.SelectorKey, int]]
_NOTHING: Final[_Events] = []


class LazySelector(selectors.DefaultSelector):
    """Asks the kernel for events when the loop has nothing else to do.

    asyncio asks before each round of callbacks, and a job takes six rounds: the response of a poll wakes a coroutine,
    which starts another. Half of these questions find nothing, and each takes 10 microseconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0

    def select(self, timeout: float | None = None) -> _Events:
        """Return the ready descriptors; with `timeout` 0, when callbacks wait to be run, mostly none."""
        if timeout == 0 and self._skipped < _SKIPS:
            self._skipped += 1
            return _NOTHING
        self._skipped = 0
        return super().select(timeout)
