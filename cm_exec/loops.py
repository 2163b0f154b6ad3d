"""Helpers of event loops: a thread for a long function, a deadline that moves, and a loop in a thread of its own."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_CLOCK: Final = 0.001  # the resolution of the loop's timers


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


class Deadline:
    """The deadline of one request or job after another.

    Its timer outlives them: to set and cancel one for each costs 5 microseconds.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = 0.0
        self._on_passed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether a deadline is set that has not passed."""
        return self._on_passed is not None

    def set(self, seconds: float, on_passed: Callable[[], None]) -> None:
        """Call `on_passed` that many seconds from now, unless the deadline is cleared or set again before."""
        self._at, self._on_passed = self._loop.time() + seconds, on_passed
        if self._timer is None or self._timer.when() > self._at:
            self._arm()

    def clear(self) -> None:
        """Remove the deadline: the request or job is over."""
        self._on_passed = None

    def close(self) -> None:
        """Remove the deadline and its timer."""
        self._on_passed = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._on_passed is None:
            return
        if self._loop.time() < self._at - _CLOCK:
            self._arm()
        else:
            on_passed, self._on_passed = self._on_passed, None
            on_passed()


class LoopThread:
    """Runs an event loop until `stop`; work is given to it from other threads."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_quiet)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Run a coroutine to its end and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function on the loop's thread. Once the loop has ended, on this one."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return work()

        async def called() -> T:
            return work()

        return self.run(called())

    def call_later(self, work: Callable[[], object]) -> None:
        """Call a function on the loop's thread, some time soon; nothing when the loop has ended."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(work)

    def stop(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


class Inbox(Generic[T]):
    """Hands items from any thread to `take` on a loop's thread, in batches: waking the loop for each item is slow."""

    def __init__(self, take: Callable[[T], object]) -> None:
        self._take = take
        self._items: deque[T] = deque()
        self._is_called = False

    def put(self, item: T, thread: LoopThread) -> None:
        """Hand over an item, some time soon."""
        self._items.append(item)
        if not self._is_called:
            self._is_called = True
            thread.call_later(self._take_all)

    def _take_all(self) -> None:
        self._is_called = False  # before the look: an item that comes now calls again
        while self._items:
            self._take(self._items.popleft())


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handshakes that fail and connections that break are a worker's affair, and no news."""
    if not isinstance(context.get("exception"), OSError):  # ssl.SSLError is one
        loop.default_exception_handler(context)
