"""A persistent process whose queries are commands: `["verb", argument...]`.

Its own arguments: `frames` for content-length framing, `fd3` to write results to descriptor 3, `say TEXT` and
`die STATUS` for what it does at its start, `note FILE` to append its pid to a file then.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

FRAMES: Final = "frames" in sys.argv
RESULT: Final = 3 if "fd3" in sys.argv else 1


def main() -> None:
    """Answer until the input ends."""
    if note := _argument("note"):
        with Path(note).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if said := _argument("say"):
        write(said.encode())
    if status := _argument("die"):
        sys.exit(int(status))
    while (query := read_query()) is not None:
        whole = json.loads(query)
        verb, *arguments = whole["query"] if isinstance(whole, dict) else whole
        VERBS[verb](whole, *arguments)


def read_query() -> bytes | None:
    """Read the next query; None at the end."""
    line = sys.stdin.buffer.readline()
    if not line:
        return None
    if not FRAMES:
        return line
    assert sys.stdin.buffer.readline() == b"\r\n"
    return sys.stdin.buffer.read(int(line.removeprefix(b"Content-Length:")))


def reply(value: Any) -> None:
    """Write a result."""
    write(framed(json.dumps(value).encode()))


def framed(text: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(text), text) if FRAMES else text + b"\n"


def write(text: bytes) -> None:
    """Write all bytes, with one system call if the pipe has room."""
    view = memoryview(text)
    while view:
        view = view[os.write(RESULT, view) :]


def in_thread(*steps: Callable[[], object]) -> None:
    threading.Thread(target=lambda: [step() for step in steps], daemon=True).start()


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.002)


def twice(_: Any) -> None:
    write(framed(b"1") * 2)


def late(_: Any, path: str, value: Any) -> None:
    """Send a result, and another one from a thread when `path` is there: the process waits for its next query."""
    reply("first")
    in_thread(lambda: wait_for(path), lambda: reply(value))


def after(_: Any, seconds: float) -> None:
    """Write a result, and another one a little later."""
    reply("first")
    time.sleep(seconds)
    reply("stray")


def after_in_part(_: Any, seconds: float, text: str) -> None:
    """Write a result, and a part of another one a little later."""
    reply("first")
    time.sleep(seconds)
    write(text.encode())


def slow(_: Any, seconds: float, value: Any) -> None:
    time.sleep(seconds)
    reply(value)


def raw_and_out(_: Any, text: str, status: int) -> None:
    write(text.encode("latin-1"))
    os._exit(status)


def noisy(_: Any, text: str) -> None:
    os.write(2, text.encode())
    reply("said")


def late_noise(_: Any, path: str, text: str) -> None:
    reply("first")
    in_thread(lambda: wait_for(path), lambda: os.write(2, text.encode()), lambda: Path(f"{path}.done").touch())


def printing(_: Any, text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
    reply("printed")


def late_exit(_: Any, path: str) -> None:
    reply("first")
    in_thread(lambda: wait_for(path), lambda: os._exit(0))


def last(_: Any, status: int) -> None:
    """Write a whole result and exit at once."""
    reply("last")
    os._exit(status)


def twice_and_out(_: Any) -> None:
    write(framed(b"1") * 2)
    os._exit(0)


def enveloped(whole: dict[str, Any], value: Any) -> None:
    reply({"jobId": whole["jobId"], "result": value})


def hang(_: Any, ready: str | None = None) -> None:
    if ready:
        Path(ready).touch()
    time.sleep(300)


def close_result(_: Any) -> None:
    os.close(RESULT)
    time.sleep(300)


def wait_and_reply(_: Any, ready: str, go: str) -> None:
    Path(ready).touch()
    wait_for(go)
    reply(os.getpid())


VERBS: Final[dict[str, Callable[..., None]]] = {
    "pid": lambda _: reply(os.getpid()),
    "echo": lambda _, value: reply(value),
    "slow": slow,
    "whole": lambda whole: enveloped(whole, whole) if "jobId" in whole else reply(whole),
    "env": lambda _, name: reply(os.environ.get(name)),
    "ones": lambda _, number: write(framed(b"1" * number)),
    "raw": lambda _, text: write(text.encode("latin-1")),
    "raw_and_out": raw_and_out,
    "exit": lambda _, status: os._exit(status),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "twice": twice,
    "late": late,
    "after": after,
    "after_in_part": after_in_part,
    "noisy": noisy,
    "late_noise": late_noise,
    "printing": printing,
    "late_exit": late_exit,
    "last": last,
    "twice_and_out": twice_and_out,
    "enveloped": enveloped,
    "hang": hang,
    "close_result": close_result,
    "wait_and_reply": wait_and_reply,
}


def _argument(name: str) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


if __name__ == "__main__":
    main()
