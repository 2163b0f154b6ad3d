"""An event loop in a thread of its own, and what other threads hand to it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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
