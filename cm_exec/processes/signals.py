"""Signals of the program: for a coroutine that is its whole work, with its event loop, or for other code."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, TypeVar

from cm_exec.errors import ExhaustedError
from cm_exec.processes.launcher import become_subreaper, limit_mmap_threshold
from cm_exec.processes.termination import reap_orphans
from cm_exec.processes.worker_loop import new_worker_loop

log: Final = logging.getLogger("cm_exec.worker")

T = TypeVar("T")


_REAP_SECONDS: Final = 1.0
"""Orphans of a job are reaped at its end, so this is for jobs that run long."""

_LAST_SECONDS: Final = 1.0
"""How long the work may go on after a second signal, for instance to post errors."""

_DESCRIPTORS_OF_LOOP: Final = 4

_ALWAYS: Final = (signal.SIGTERM, signal.SIGINT)
_UNLESS_IGNORED: Final = (signal.SIGHUP, signal.SIGQUIT)  # nohup ignores SIGHUP on purpose


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no coroutine caught: it must not reach stderr as a traceback of asyncio."""
    log.error("a bug in cm-exec: %s", context.get("message"), exc_info=context.get("exception"))


OnSignal = Callable[[signal.Signals, int], None]
"""Called on the loop with a signal and how many have come so far."""


def _check_descriptors() -> None:
    """Raise ExhaustedError if there are not enough for a loop: asyncio would leave a traceback on stderr."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_DESCRIPTORS_OF_LOOP))
    except OSError as error:
        raise ExhaustedError(f"cm-exec cannot start: {(error.strerror or str(error)).lower()}") from None
    finally:
        for fd in opened:
            os.close(fd)


def run_supervised(work: Callable[[], Coroutine[Any, Any, T]], on_signal: OnSignal) -> T | None:
    """Run `work` on a loop and return what it returns, None if it does not end within a second after a second signal.

    SIGTERM, SIGINT, SIGHUP and SIGQUIT go to `on_signal`; adopted processes are reaped.
    """
    become_subreaper()
    limit_mmap_threshold()
    _check_descriptors()
    with asyncio.Runner(loop_factory=new_worker_loop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(_log_exception)
        task: asyncio.Task[T] | None = None
        received = 0

        def receive(which: signal.Signals) -> None:
            nonlocal received
            received += 1
            on_signal(which, received)
            if received > 1 and task is not None:
                loop.call_later(_LAST_SECONDS, task.cancel)

        def reap() -> None:
            reap_orphans()
            loop.call_later(_REAP_SECONDS, reap)

        handled = [*_ALWAYS, *(s for s in _UNLESS_IGNORED if signal.getsignal(s) is not signal.SIG_IGN)]
        for number in handled:
            loop.add_signal_handler(number, receive, number)
        loop.call_later(_REAP_SECONDS, reap)
        task = loop.create_task(work())
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for number in handled:
            loop.remove_signal_handler(number)
        return None if task.cancelled() else task.result()


SIGNAL_STEP: Final = 0.2
"""Seconds after which the main thread wakes at the latest where it waits for something other than a loop.

Python runs handlers on the main thread, and the system may hand a signal to another one, which does not wake it.
"""


def run_in_threads(function: Callable[[T], object], items: Iterable[T], threads: int) -> None:
    """Call the function with each item, so many at a time.

    KeyboardInterrupt, or what a call raises, comes out at once; calls that run go on, and no other begins.
    """
    from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait  # noqa: PLC0415 - not the worker

    pool = ThreadPoolExecutor(threads)
    try:
        pending: set[Future[object]] = {pool.submit(function, item) for item in items}
        while pending:
            done, pending = wait(pending, SIGNAL_STEP, FIRST_EXCEPTION)
            for future in done:
                future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def signal_handlers(note: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `note` with each SIGINT, SIGTERM and SIGHUP, for code without a loop; at the end restore what was before."""

    def handle(number: int, _frame: FrameType | None) -> None:
        note(signal.Signals(number))

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
