"""The launcher's first thread: signals, and the processes that it adopts.

It never starts a process itself (see handlers/orphans.py) and never blocks on anything but its wake-up pipe.
"""

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

from cm_exec.handlers.exit_watch import announce_exits, has_pidfds
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.memory import give_back_large_buffers
from cm_exec.handlers.orphans import become_subreaper, reap_adopted

_REAP_EVERY: Final = 1.0
"""Seconds; what a job leaves is reaped when it ends, so this is for orphans of jobs that run long."""


class EndAtOnce(Exception):  # noqa: N818 - an order, not an error
    """Raised by `on_signal`: the work is not waited for."""


def end_jobs(surroundings: Surroundings, how_often: int) -> None:
    """End all jobs at the first signal; at the second without asking. Raises EndAtOnce then."""
    if how_often == 1:
        surroundings.stop.set()
        return
    surroundings.kill_all()
    raise EndAtOnce


def supervise(work: Callable[[], None], on_signal: Callable[[signal.Signals, int], None]) -> None:
    """Do `work` on a thread of its own and return, or raise, as it does.

    Meanwhile SIGTERM and SIGINT go to `on_signal(which, how_often)`, and adopted processes are reaped. Called once in
    the life of a program, which ends after it.
    """
    become_subreaper()
    give_back_large_buffers()
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    received: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    handled = [signal.SIGTERM, signal.SIGINT]
    if not has_pidfds():  # with pidfds nobody needs SIGCHLD, and it would wake this thread for each job
        handled.append(signal.SIGCHLD)
    before = {number: signal.signal(number, note) for number in handled}
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = _Work(work, done=lambda: os.write(write, b"\0"))
    try:
        thread.start()
        _attend(read, thread, received, on_signal)
    except EndAtOnce:
        return
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
    if thread.error is not None:
        raise thread.error


class _Work(threading.Thread):
    def __init__(self, work: Callable[[], None], done: Callable[[], object]) -> None:
        super().__init__(name="work", daemon=True)
        self._work = work
        self._done = done
        self.ended = False
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again on the first thread
            self.error = error
        finally:
            self.ended = True
            self._done()


def _attend(
    read: int, work: _Work, received: list[signal.Signals], on_signal: Callable[[signal.Signals, int], None]
) -> None:
    requests = 0
    while not work.ended:
        select.select([read], [], [], _REAP_EVERY)
        reap_adopted()
        with suppress(BlockingIOError):
            os.read(read, 4096)
        while received:
            which = received.pop(0)
            if which is signal.SIGCHLD:
                announce_exits()
            else:
                requests += 1
                on_signal(which, requests)
