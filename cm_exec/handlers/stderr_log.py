"""Send a handler's stderr to the log, line by line."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

log: Final = logging.getLogger("cm_exec.handler")

_LONGEST_PIECE: Final = 64 * 1024
_LONGEST_SECRET: Final = 16 * 1024


class StderrLogger:
    """Logs complete lines as they come, several in one record.

    Bytes are neither split nor decoded here: the log does that on its own thread. A line longer than 64 KiB is logged
    in pieces; a secret is never split between two pieces.
    """

    def __init__(self, tags: Mapping[str, str], redact: Callable[[bytes], bytes] = bytes) -> None:
        self._tags = tags
        self._redact = redact
        self._rest = b""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of stderr."""
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        if not end and len(text) >= _LONGEST_PIECE:
            text = self._redact(text)
            end = max(0, len(text) - _LONGEST_SECRET)
        self._rest = text[end:]
        self._log(text[:end])

    def flush(self) -> None:
        """Log what has come without a line end."""
        self._log(self._rest)
        self._rest = b""

    def _log(self, lines: bytes) -> None:
        if lines:
            log.info(self._redact(lines), extra={"tags": self._tags})
