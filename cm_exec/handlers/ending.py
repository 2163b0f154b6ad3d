"""Ending a child that is still running, with all that it started."""

import select
import time

from cm_exec.handlers.leftovers import GIVE_UP, GRACE, Leftovers
from cm_exec.handlers.process import Child


def end_all(children: list[Child]) -> None:
    """End them side by side: end of input and SIGTERM, a grace, SIGKILL; then give their descriptors back."""
    for child in children:
        child.close_stdin()
        child.terminate()
    if _still_running(children, GRACE):
        for child in children:
            child.kill()
        _still_running(children, GIVE_UP)
    leftovers = [Leftovers(child.family) for child in children]
    for left in leftovers:
        left.terminate()
    for child, left in zip(children, leftovers, strict=True):
        child.close()
        left.finish()


def _still_running(children: list[Child], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    running = [child for child in children if child.exit_status() is None]
    while running and (left := deadline - time.monotonic()) > 0:
        ends = select.poll()
        for child in running:
            ends.register(child.exit_watch.fileno(), select.POLLIN)
        ends.poll(left * 1000)
        for child in running:
            child.exit_watch.acknowledge()
        running = [child for child in running if child.exit_status() is None]
    return bool(running)
