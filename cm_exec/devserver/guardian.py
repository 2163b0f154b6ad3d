"""A small process between `dev` (or a test) and a worker of any kind, so that nothing outlives the former.

It runs as a script of the standard library alone: `guardian.py FD FOLDER COMMAND...`. FD is a socket to the process
that wants the worker. It sends `T` (SIGTERM to the worker's first process, as a container's end does), `G` (SIGTERM
to its process group) and `K` (SIGKILL to all that it started), and receives
lines: `pid N`, then `exit N` (negative for a signal), or `error TEXT` if the command cannot be started. When the
socket closes, for instance because the other process was killed, everything is ended and FOLDER is removed, if named.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL for what the worker left behind."""
_LOOK = 0.05


def main() -> None:
    """Start the command, pass on what is asked for, report its end."""
    lifeline = socket.socket(fileno=int(sys.argv[1]))
    folder, command = sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)  # adopt what the worker's processes leave behind
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the other process decides; the worker gets the default again
    try:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    except OSError as error:
        _say(lifeline, f"error {error.strerror}: {error.filename}")
        return
    _say(lifeline, f"pid {worker.pid}")
    wanted = _attend(worker, lifeline)
    _end_rest(worker.pid)
    _say(lifeline, f"exit {worker.wait()}")
    if not wanted and folder:
        shutil.rmtree(folder, ignore_errors=True)


def _attend(worker: "subprocess.Popen[bytes]", lifeline: socket.socket) -> bool:
    """Wait for the worker's end, or end it when the lifeline closes: whether somebody still wants it."""
    while worker.poll() is None:
        readable, _, _ = select.select([lifeline], [], [], _LOOK)
        orders = lifeline.recv(16) if readable else None
        if orders == b"":
            _signal_group(worker.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                worker.wait(_GRACE)
            _signal_group(worker.pid, signal.SIGKILL)
            worker.wait()
            return False
        if orders and b"K" in orders:
            _signal_group(worker.pid, signal.SIGKILL)
        elif orders and b"G" in orders:
            _signal_group(worker.pid, signal.SIGTERM)
        for _ in range((orders or b"").count(b"T")):
            worker.terminate()
    return True


def _end_rest(group: int) -> None:
    """End what the worker left behind: the rest of its group, and processes that left the group."""
    deadline = time.monotonic() + _GRACE
    number = signal.SIGTERM
    while rest := _children():
        number = signal.SIGKILL if time.monotonic() > deadline else number
        _signal_group(group, number)
        for pid in rest:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(_LOOK)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _children() -> list[int]:
    """Return the adopted processes; those that have ended are among them until they are reaped."""
    me = str(os.getpid())
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] == me:
                found.append(int(path.parent.name))
    return found


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _say(lifeline: socket.socket, line: str) -> None:
    with suppress(OSError):
        lifeline.sendall(f"{line}\n".encode())


if __name__ == "__main__":
    main()
