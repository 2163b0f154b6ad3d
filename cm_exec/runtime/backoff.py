"""How long to wait before trying again."""

import os
from collections.abc import Callable


def _jitter() -> float:
    return os.urandom(1)[0] / 256  # the random module takes 2 ms to import


class Backoff:
    """Delays in seconds that double from `first` up to `cap`, each shortened at random by up to a half.

    The jitter keeps many replicas from knocking at the same moment.
    """

    def __init__(self, first: float, cap: float, jitter: Callable[[], float] = _jitter) -> None:
        self._first = first
        self._cap = cap
        self._jitter = jitter
        self._next = first

    def next(self) -> float:
        """The delay after one more failure."""
        delay, self._next = self._next, min(self._cap, self._next * 2)
        return delay * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """After a success."""
        self._next = self._first
