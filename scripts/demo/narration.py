"""The output of the demo."""

import threading
from dataclasses import dataclass, field


@dataclass
class Narration:
    """Prints the demo, cut at `width` characters. `failures` are the checks that failed."""

    colour: bool
    width: int
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scene(self, text: str) -> None:
        """Print a heading."""
        self._print(f"\n{self._paint('1', text)}")

    def say(self, text: str) -> None:
        """Print a plain line."""
        self._print(f"  {text}")

    def quote(self, text: str, margin: str = "    ") -> None:
        """Print a file or a log line as it is."""
        for line in text.strip("\n").split("\n"):
            self._print(self._paint("2", cut(f"{margin}{line}", self.width)))

    def check(self, promise: str, kept: object) -> None:
        """Print a check and whether it holds."""
        if not kept:
            self.failures.append(promise)
        self._print(f"  {self._paint('32', 'ok') if kept else self._paint('31', 'FAILED')}  {promise}")

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def _print(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)


def shown(body: bytes, width: int = 100) -> str:
    """Return a query or a result on one line."""
    if body.startswith(b"\x89PNG"):
        return f"a PNG image, {int.from_bytes(body[16:20])} x {int.from_bytes(body[20:24])}, {len(body)} bytes"
    return cut(" ".join(body.decode(errors="replace").split()), width)


def cut(text: str, width: int) -> str:
    """Return the text, without its end if it is too long."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
