"""A handler's stderr on its way to the log, line by line."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

log: Final = logging.getLogger("cm_exec.handler")

_LONGEST_PIECE: Final = 64 * 1024


class StderrRelay:
    """Hands whole lines to the log as they come, several in one record, each job's apart.

    The bytes are neither split nor decoded here: that is the log's work, on a thread of its own, so that a handler
    never waits for it. A line longer than 64 KiB goes in pieces.
    """

    def __init__(self, tags: Mapping[str, str], redact: Callable[[bytes], bytes]) -> None:
        self._tags = tags
        self._redact = redact
        self._rest = b""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of stderr."""
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        if not end and len(text) >= _LONGEST_PIECE:
            end = len(text)
        self._rest = text[end:]
        self._log(text[:end])

    def close(self) -> None:
        """The end of stderr: what stands there without a final newline is a line too."""
        self._log(self._rest)
        self._rest = b""

    def _log(self, lines: bytes) -> None:
        if lines:
            log.info(self._redact(lines), extra={"tags": self._tags})
