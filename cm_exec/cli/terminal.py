"""What commands write to the terminal: whole lines, in colour where there is a terminal."""

import os
import sys
import threading
import time
from typing import Final, TextIO

_WIDTH: Final = 12
"""Of the column that says whose line it is."""

_VISIBLE: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) != "\t"}
"""A handler's escape sequences must not move the cursor or hide a line."""

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"
CYAN: Final = "36"


class Terminal:
    """Takes lines from all threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._colour = self._stream is not None and self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def line(self, whose: str, text: str, colour: str = "") -> None:
        """`TIME  WHOSE  text`; where the text has several lines, so has this."""
        now = self.styled(time.strftime("%H:%M:%S"), DIM)
        name = self.styled(f"{whose.translate(_VISIBLE):<{_WIDTH}}", CYAN)
        lines = (f"{now}  {name}  {self.styled(part.translate(_VISIBLE), colour)}" for part in text.split("\n"))
        self.write("\n".join(lines))

    def styled(self, text: str, style: str) -> str:
        """The text in a style, where there is a terminal."""
        return f"\033[{style}m{text}\033[0m" if self._colour and style else text

    def write(self, text: str) -> None:
        """Lines as they stand. A reader that is gone is no reason to stop."""
        with self._lock:
            try:
                print(text, file=self._stream, flush=True)
            except (OSError, ValueError):
                self._stream = None  # print() to None writes nothing
