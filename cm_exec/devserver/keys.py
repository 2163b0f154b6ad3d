"""Keys of a terminal on which `cm-exec dev` runs: one letter each, without Enter."""

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

_LOOK: Final = 0.5


@contextmanager
def keys(actions: Mapping[str, Callable[[], object]]) -> Iterator[bool]:
    """Call the action of a pressed key meanwhile. Gives False where there is no terminal to read from."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()) or not _in_foreground():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    stop = threading.Event()
    reader = threading.Thread(target=_read, args=(actions, stop), name="keys", daemon=True)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)  # Ctrl-C still sends SIGINT
        reader.start()
        yield True
    finally:
        stop.set()
        reader.join()
        if _in_foreground():
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _read(actions: Mapping[str, Callable[[], object]], stop: threading.Event) -> None:
    while not stop.is_set():
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK)
        if not readable or not _in_foreground():
            stop.wait(_LOOK if readable else 0)
            continue
        pressed = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
        if not pressed:
            return
        if pressed in actions:
            actions[pressed]()


def _in_foreground() -> bool:
    """Return whether this process may use its terminal: a background process would be stopped for it."""
    with suppress(OSError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False
