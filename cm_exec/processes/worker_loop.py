"""The event loop of the worker, asyncio's interface on epoll, and a thread for a long function.

asyncio's own loop puts a selector, and a round of its own for each step, between an event and the coroutine that waits
for it, and fires timers before it has seen the events that came before them.
"""

import asyncio
import heapq
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import Any, Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ROUNDS: Final = 8
_LONGEST_ROUNDS: Final = 0.005
"""Rounds of callbacks, and their seconds, after which the kernel is asked again: no descriptor waits for long."""

_MANY_CANCELLED: Final = 100
"""Cancelled timers that may wait for their time; more are removed when they are half of all timers."""


def new_worker_loop() -> asyncio.AbstractEventLoop:
    """Return a WorkerLoop, or asyncio's own loop where the system has no epoll (macOS)."""
    return WorkerLoop() if hasattr(select, "epoll") else asyncio.new_event_loop()  # type: ignore[abstract]


class _Call(asyncio.TimerHandle):
    """A callback that waits for its turn, its event or its time."""

    __slots__ = ("args", "at", "callback", "context", "loop")

    def __init__(  # the base class's does more than twice the work
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None = None, at: float = 0.0
    ) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.at = at
        self.loop: WorkerLoop | None = None  # that of a timer

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback, self.args = None, ()
            if self.loop is not None:
                self.loop.timer_cancelled()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.at


_Watch = tuple[_Call | None, _Call | None]
"""The reader and the writer of a descriptor."""

_UNWATCHED: Final[_Watch] = (None, None)


class WorkerLoop(asyncio.AbstractEventLoop):
    """Runs coroutines, callbacks, timers and signal handlers on the main thread.

    A loop that was late, because the program was suspended or had no CPU time, has timers that are due and events that
    came before them. The events count first: what has come in time is not too late.
    """

    def __init__(self) -> None:
        self._ready: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call]] = []
        self._numbers = count()  # timers of the same time fire in the order in which they were set
        self._cancelled_timers = 0
        self._watches: dict[int, _Watch] = {}
        self._signals: dict[int, _Call] = {}
        self._is_stopping = self._is_closed = False
        self._on_exception: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._epoll = select.epoll()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.add_reader(self._woken, self._wake)

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._close_generator)
        asyncio._set_running_loop(self)  # noqa: SLF001 - Python's documentation has it for event loops
        self._is_stopping = False
        try:
            while not self._is_stopping:
                self._turn()
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)
            task.remove_done_callback(self._stop)
        return task.result()

    def _stop(self, _task: object) -> None:
        self._is_stopping = True

    def _turn(self) -> None:
        """Wait for events and run what they call; then come the timers that were due before the kernel was asked."""
        ready, timers = self._ready, self._timers
        asked = time.monotonic()
        if ready:
            timeout = 0.0
        elif timers:
            timeout = max(0.0, timers[0][0] - asked)
        else:
            timeout = -1.0
        events = self._epoll.poll(timeout)
        # A timer is due, or SIGCONT has interrupted the wait, which ends without a look then.
        if timeout and not events:
            asked = time.monotonic()
            events = self._epoll.poll(0)
        for fd, mask in events:
            reader, writer = self._watches.get(fd, _UNWATCHED)
            if reader is not None and mask & ~select.EPOLLOUT:
                ready.append(reader)
            if writer is not None and mask & ~select.EPOLLIN:
                ready.append(writer)
        self._run_ready()
        while timers and timers[0][0] <= asked:
            timer = heapq.heappop(timers)[2]
            timer.loop = None
            if timer.callback is None:
                self._cancelled_timers -= 1
            else:
                ready.append(timer)

    def _run_ready(self) -> None:
        ready = self._ready
        until = time.monotonic() + _LONGEST_ROUNDS
        for _ in range(_ROUNDS):
            for _ in range(len(ready)):
                call = ready.popleft()
                callback = call.callback
                if callback is None:
                    continue
                try:
                    if call.context is None:
                        callback(*call.args)
                    else:
                        call.context.run(callback, *call.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - the exception handler decides
                    self.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})
            if not ready or time.monotonic() > until:
                return

    def close(self) -> None:
        self._is_closed = True
        for number in list(self._signals):
            self.remove_signal_handler(number)
        self._ready.clear()
        self._timers.clear()
        self._watches.clear()
        self._epoll.close()
        self._woken.close()
        self._waker.close()

    def is_closed(self) -> bool:
        return self._is_closed

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: a generator is closed when the last reference to it goes."""

    async def shutdown_default_executor(self, _seconds: float | None = None) -> None:
        """Do nothing: there is none."""

    def _close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._is_closed:
            self.call_soon_threadsafe(self.create_task, generator.aclose())

    def time(self) -> float:
        return time.monotonic()

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> _Call:
        call = _Call(callback, args, context)
        self._ready.append(call)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Call:
        if self._is_closed:
            raise RuntimeError("the event loop is closed")
        call = self.call_soon(callback, *args, context=context)
        with suppress(OSError):  # it is full of bytes that wake the loop as well, or was closed at this moment
            self._waker.send(b"\0")
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Call:
        return self.call_at(time.monotonic() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Call:
        timer = _Call(callback, args, context, when)
        timer.loop = self
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def timer_cancelled(self) -> None:
        """Remove the cancelled timers when they are many: most are set for much later."""
        self._cancelled_timers += 1
        if self._cancelled_timers > max(_MANY_CANCELLED, len(self._timers) // 2):
            self._timers[:] = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:  # type: ignore[override]
        return asyncio.Task(coro, loop=self, **options)

    def add_reader(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        self._watch(fd, reader=_Call(callback, args))

    def add_writer(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        self._watch(fd, writer=_Call(callback, args))

    def remove_reader(self, fd: Any) -> bool:
        return self._unwatch(fd, 0)

    def remove_writer(self, fd: Any) -> bool:
        return self._unwatch(fd, 1)

    def _watch(self, fd: Any, reader: _Call | None = None, writer: _Call | None = None) -> None:
        """Watch a descriptor also for this. Raises OSError for a regular file."""
        number = _number(fd)
        before = self._watches.get(number, _UNWATCHED)
        after = (reader or before[0], writer or before[1])
        if before is _UNWATCHED:
            self._epoll.register(number, _mask(after))
        elif _mask(before) != _mask(after):
            self._epoll.modify(number, _mask(after))
        self._watches[number] = after
        replaced = before[0] if reader else before[1]
        if replaced is not None:
            replaced.cancel()

    def _unwatch(self, fd: Any, which: int) -> bool:
        number = _number(fd)
        before = self._watches.get(number, _UNWATCHED)
        removed = before[which]
        if removed is None:
            return False
        removed.cancel()  # its event may have come in this turn
        after = (None, before[1]) if which == 0 else (before[0], None)
        if not _mask(after):
            del self._watches[number]
            with suppress(OSError):  # it was closed
                self._epoll.unregister(number)
        else:
            self._watches[number] = after
            self._epoll.modify(number, _mask(after))
        return True

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        signal.set_wakeup_fd(self._waker.fileno())
        self._signals[sig] = _Call(callback, args)
        signal.signal(sig, _left_to_the_loop)
        signal.siginterrupt(sig, False)

    def remove_signal_handler(self, sig: int) -> bool:
        if self._signals.pop(sig, None) is None:
            return False
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        if not self._signals:
            signal.set_wakeup_fd(-1)
        return True

    def _wake(self) -> None:
        """Read who has woken the loop: Python writes a signal's number to the socket, a thread writes 0."""
        with suppress(BlockingIOError):
            self._ready.extend(self._signals[number] for number in self._woken.recv(4096) if number in self._signals)

    def get_debug(self) -> bool:
        return False

    def set_exception_handler(self, handler: Any) -> None:
        self._on_exception = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._on_exception is not None:
            self._on_exception(self, context)


async def in_thread(function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises: for what would hold the loop for longer than 10 ms.

    It runs on the loop itself if no thread can be started. The threads are daemons: none keeps the program from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - raised again on the loop
            _report(_set_exception, error)
        else:
            _report(_set_result, result)

    def _report(setter: Callable[..., None], value: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(setter, value)

    def _set_result(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def _set_exception(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    try:
        threading.Thread(target=work, name="helper", daemon=True).start()
    except RuntimeError:  # the limit of processes is reached
        return function()
    return await future


def _number(fd: Any) -> int:
    number: int = fd if isinstance(fd, int) else fd.fileno()
    return number


def _mask(watch: _Watch) -> int:
    return (select.EPOLLIN if watch[0] else 0) | (select.EPOLLOUT if watch[1] else 0)


def _left_to_the_loop(_number: int, _frame: object) -> None:
    """Do nothing."""
