"""The selector that asks the kernel less often: no event is lost or late for it."""

import asyncio
import os
import time

from cm_exec.processes.signals import LazySelector


def loop_with_lazy_selector() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(LazySelector())


def test_descriptor_of_a_busy_loop() -> None:
    """A descriptor is served although the loop always has callbacks."""

    async def work() -> int:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        rounds = 0
        served = False

        def callback() -> None:
            nonlocal served
            served = True
            loop.remove_reader(read)

        loop.add_reader(read, callback)
        os.write(write, b"x")
        while not served and rounds < 1000:
            rounds += 1
            await asyncio.sleep(0)
        os.close(read)
        os.close(write)
        return rounds

    with asyncio.Runner(loop_factory=loop_with_lazy_selector) as runner:
        assert 1 < runner.run(work()) < 20


def test_timers_of_a_busy_loop() -> None:
    """Timers fire although the loop always has callbacks."""

    async def work() -> int:
        fired = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, fired.set)
        rounds = 0
        while not fired.is_set():
            rounds += 1
            await asyncio.sleep(0)
        return rounds

    with asyncio.Runner(loop_factory=loop_with_lazy_selector) as runner:
        assert runner.run(work()) > 1


def test_a_late_loop() -> None:
    """What came while the loop was held up counts before the timers that are due since."""

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        order: list[str] = []
        over = asyncio.Event()

        def event() -> None:
            order.append("event")
            loop.remove_reader(read)

        loop.add_reader(read, event)
        loop.call_later(0.01, order.append, "timer")
        loop.call_later(0.02, over.set)
        os.write(write, b"x")
        time.sleep(0.1)
        await over.wait()
        os.close(read)
        os.close(write)
        return order

    with asyncio.Runner(loop_factory=loop_with_lazy_selector) as runner:
        assert runner.run(work()) == ["event", "timer"]


def test_an_idle_loop_asks_the_kernel_at_once() -> None:
    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        came = asyncio.Event()
        loop.add_reader(read, came.set)
        loop.call_later(0.02, os.write, write, b"later")
        async with asyncio.timeout(10):
            await came.wait()
        result = os.read(read, 10)
        loop.remove_reader(read)
        os.close(read)
        os.close(write)
        return result

    with asyncio.Runner(loop_factory=loop_with_lazy_selector) as runner:
        assert runner.run(work()) == b"later"
