"""Run a function on a helper thread, for work that would hold the loop for longer than about 10 ms."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises; on the loop itself if no thread can be started.

    The threads are daemons: none keeps the program from ending.
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
