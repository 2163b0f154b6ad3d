"""A log of lasting trouble that tells it once, then at growing intervals, and tells its end."""

import logging
import time
from typing import Final

log: Final = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 300.0


class Trouble:
    """What goes wrong with one activity again and again, such as polling."""

    def __init__(self, activity: str) -> None:
        self._activity = activity
        self._message: str | None = None
        self._since = 0.0
        self._say_again = 0.0
        self._pause = _FIRST_PAUSE

    def happened(self, message: str) -> None:
        """One more failure."""
        now = time.monotonic()
        if self._message is None:
            self._since, self._pause = now, _FIRST_PAUSE
        elif message == self._message and now < self._say_again:
            return
        elif message == self._message:
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        self._message = message
        self._say_again = now + self._pause
        log.warning("%s fails: %s; trying again", self._activity, message)

    def over(self) -> None:
        """A success."""
        if self._message is not None:
            log.info("%s works again after %.1f s", self._activity, time.monotonic() - self._since)
            self._message = None
