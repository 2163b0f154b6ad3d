"""Helpers for coroutines: a thread for a long function, and a deadline that moves."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

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
