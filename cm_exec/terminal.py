"""Output for people: whole lines, in colour on a terminal."""

import os
import sys
import threading
import time
from typing import Final, TextIO

from cm_exec.text import visible

_NAME_WIDTH: Final = 12

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"
CYAN: Final = "36"


class Terminal:
    """Writes lines from all threads to stdout."""

    def __init__(self) -> None:
        self._stream: TextIO | None = sys.stdout
        self._colour = self._stream is not None and self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def line(self, name: str, text: str, colour: str = "") -> None:
        """Write `TIME  NAME  text`, for each line of the text."""
        now = self.styled(time.strftime("%H:%M:%S"), DIM)
        shown = self.styled(f"{visible(name):<{_NAME_WIDTH}}", CYAN)
        lines = (f"{now}  {shown}  {self.styled(visible(part), colour)}" for part in text.split("\n"))
        self.write("\n".join(lines))

    def styled(self, text: str, style: str) -> str:
        """Return the text in a style, if the stream is a terminal."""
        return f"\033[{style}m{text}\033[0m" if self._colour and style else text

    def write(self, text: str) -> None:
        """Write lines as they are. A reader that is gone is ignored."""
        with self._lock:
            try:
                print(text, file=self._stream, flush=True)
            except (OSError, ValueError):
                self._stream = None  # print() to None writes nothing
