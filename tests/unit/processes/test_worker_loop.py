"""The event loop of the worker: no event is lost, late or out of turn, and it keeps asyncio's promises."""

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cm_exec.processes.worker_loop import WorkerLoop, new_worker_loop

T = TypeVar("T")

Pipe = tuple[int, int]


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Run a coroutine on a loop of the worker. Fails for what no coroutine caught."""
    faults: list[dict[str, Any]] = []

    def run(work: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(60):
                return await work

        with asyncio.Runner(loop_factory=new_worker_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, fault: faults.append(fault))
            result: T = runner.get_loop().run_until_complete(limited())
            return result

    yield run
    assert not faults


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 20), (0.01, 4)])
def test_descriptor_of_a_busy_loop(run: Run, pipe: Pipe, seconds: float, most: int) -> None:
    """A descriptor is served although the loop always has callbacks."""

    async def work() -> int:
        loop = asyncio.get_running_loop()
        served = asyncio.Event()
        loop.add_reader(pipe[0], served.set)
        os.write(pipe[1], b"x")
        rounds = 0
        while not served.is_set() and rounds < 1000:
            rounds += 1
            time.sleep(seconds)
            await asyncio.sleep(0)
        return rounds

    assert 1 <= run(work()) < most


def test_timers_of_a_busy_loop(run: Run) -> None:
    """Timers fire although the loop always has callbacks."""

    async def work() -> int:
        fired = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, fired.set)
        rounds = 0
        while not fired.is_set():
            rounds += 1
            await asyncio.sleep(0)
        return rounds

    assert run(work()) > 1


def test_a_late_loop(run: Run, pipe: Pipe) -> None:
    """What came while the loop was held up counts before the timers that are due since."""

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        came: asyncio.Future[None] = loop.create_future()
        over = asyncio.Event()

        def event() -> None:
            came.set_result(None)
            loop.remove_reader(pipe[0])

        async def waiter() -> None:
            await came
            order.append("waiter of the event")

        task = asyncio.create_task(waiter())
        loop.add_reader(pipe[0], event)
        loop.call_later(0.01, order.append, "timer")
        loop.call_later(0.02, over.set)
        os.write(pipe[1], b"x")
        await asyncio.sleep(0)
        time.sleep(0.1)
        await over.wait()
        await task
        return order

    assert run(work()) == ["waiter of the event", "timer"]


def test_an_idle_loop(run: Run, pipe: Pipe) -> None:
    """A loop that waits for nothing else wakes for a descriptor."""

    async def work() -> bytes:
        came = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe[0], came.set)
        threading.Timer(0.05, os.write, (pipe[1], b"later")).start()
        await came.wait()
        loop.remove_reader(pipe[0])
        return os.read(pipe[0], 10)

    assert run(work()) == b"later"


def test_timers_fire_in_order(run: Run) -> None:
    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        now = loop.time()
        for number, at in enumerate((0.03, 0.01, 0.02, 0.01, 0.0)):
            loop.call_at(now + at, order.append, number)
        cancelled = loop.call_at(now + 0.02, order.append, -1)
        cancelled.cancel()
        cancelled.cancel()
        assert cancelled.cancelled()
        await asyncio.sleep(0.05)
        return order

    assert run(work()) == [4, 1, 3, 2, 0]


def test_a_timer_is_never_early(run: Run) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        for milliseconds in range(20):
            due = loop.time() + milliseconds / 3000
            fired = asyncio.Event()
            loop.call_at(due, fired.set)
            await fired.wait()
            assert loop.time() >= due

    run(work())


def test_cancelled_timers_are_not_kept(run: Run) -> None:
    """Ten thousand timers that were set for tomorrow and cancelled take no memory; the others fire."""

    class Held:
        count = 0

        def __init__(self) -> None:
            Held.count += 1

        def __del__(self) -> None:
            Held.count -= 1

    async def work() -> None:
        loop = asyncio.get_running_loop()
        fired = asyncio.Event()
        loop.call_later(0.2, fired.set)
        timers = [loop.call_later(86_400, lambda _: None, Held()) for _ in range(10_000)]
        for timer in timers:
            timer.cancel()
        assert isinstance(loop, WorkerLoop)
        del timer, timers
        gc.collect()
        assert Held.count == 0
        assert len(loop._timers) < 1000
        await fired.wait()

    run(work())


def test_reader_and_writer_of_one_descriptor(run: Run) -> None:
    """Each is called for its own event, and can be removed alone."""

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        called: list[str] = []
        with ours, theirs:
            loop.add_writer(ours, called.append, "writer")
            await asyncio.sleep(0.01)
            assert set(called) == {"writer"}
            loop.add_reader(ours, called.append, "reader")
            assert loop.remove_writer(ours)
            assert not loop.remove_writer(ours)
            called.clear()
            await asyncio.sleep(0.01)
            assert not called
            theirs.send(b"x")
            await asyncio.sleep(0.01)
            assert loop.remove_reader(ours)
            await asyncio.sleep(0.01)
            seen = list(called)
            called.clear()
            await asyncio.sleep(0.01)
            assert not called
            return seen

    assert set(run(work())) == {"reader"}


def test_removed_in_the_turn_of_its_event(run: Run, pipe: Pipe) -> None:
    """A reader that another callback removes, with its descriptor closed and used again, is not called any more."""

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        called: list[str] = []
        copies = [os.dup(pipe[0]), os.dup(pipe[0])]

        def read(other: int) -> None:
            called.append("first")
            for fd in copies:
                loop.remove_reader(fd)
            os.close(other)
            os.dup2(idle[0], other)
            loop.add_reader(other, called.append, "another descriptor")

        idle = os.pipe()
        loop.add_reader(copies[0], read, copies[1])
        loop.add_reader(copies[1], read, copies[0])
        os.write(pipe[1], b"x")
        await asyncio.sleep(0.02)
        for fd in (*copies, *idle):
            loop.remove_reader(fd)
            os.close(fd)
        return called

    assert run(work()) == ["first"]


def test_a_regular_file_cannot_be_watched(run: Run) -> None:
    """The system refuses it, and the loop keeps nothing of it."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        with Path(__file__).open() as file:  # noqa: ASYNC230
            with pytest.raises(PermissionError):
                loop.add_reader(file, print)
            assert not loop.remove_reader(file)

    run(work())


def test_calls_from_threads(run: Run) -> None:
    """Each call of a thread wakes the loop and is run on it, in order."""

    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        here = threading.get_ident()
        numbers: list[int] = []
        over = asyncio.Event()

        def take(number: int) -> None:
            assert threading.get_ident() == here
            numbers.append(number)

        def give() -> None:
            for number in range(50_000):
                loop.call_soon_threadsafe(take, number)
            loop.call_soon_threadsafe(over.set)

        thread = threading.Thread(target=give)
        thread.start()
        await over.wait()
        thread.join()
        return numbers

    assert run(work()) == list(range(50_000))


def test_a_closed_loop_takes_no_calls() -> None:
    loop = new_worker_loop()
    loop.close()
    with pytest.raises(RuntimeError):
        loop.call_soon_threadsafe(print)


def test_signals(run: Run) -> None:
    """A signal is given to its handler on the loop, also when the loop waits; the last handler counts."""

    async def work() -> list[str]:
        loop = asyncio.get_running_loop()
        came: list[str] = []
        over = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.append, "replaced")
        loop.add_signal_handler(signal.SIGUSR1, came.append, "first")
        loop.add_signal_handler(signal.SIGUSR2, over.set)
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        threading.Timer(0.04, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        await over.wait()
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        return came

    assert run(work()) == ["first"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_exceptions_of_callbacks() -> None:
    """An exception of a callback goes to the exception handler, and the others are called."""
    faults: list[dict[str, Any]] = []
    called: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(int, "x")
        loop.call_soon(called.append, "after")
        loop.call_later(0.01, int, "y")
        await asyncio.sleep(0.02)

    with asyncio.Runner(loop_factory=new_worker_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        runner.get_loop().run_until_complete(work())
    assert [type(fault["exception"]) for fault in faults] == [ValueError, ValueError]
    assert called == ["after"]


def test_what_the_work_raises(run: Run) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(work())


def test_primitives_of_asyncio(run: Run) -> None:
    """Timeouts, gather, wait, cancellation, locks and queues work as on asyncio's own loop."""

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        assert await asyncio.gather(*(asyncio.sleep(0.001 * n, n) for n in range(5))) == list(range(5))
        task = asyncio.create_task(asyncio.sleep(100))
        done, pending = await asyncio.wait((task,), timeout=0.01)
        assert (done, pending) == (set(), {task})
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        producer = asyncio.create_task(_fill(queue))
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        await producer
        assert await asyncio.wait_for(asyncio.shield(asyncio.sleep(0, "kept")), 1) == "kept"

    async def _fill(queue: "asyncio.Queue[int]") -> None:
        for number in range(3):
            await queue.put(number)

    run(work())


def test_generator_that_is_not_read_to_its_end(run: Run) -> None:
    """It is closed on the loop, with what its `finally` awaits, when the last reference to it goes."""
    steps: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            steps.append("closed")

    async def work() -> None:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(0.01)
        steps.append("end")

    run(work())
    assert steps == ["closed", "end"]


def test_tasks_that_are_left(run: Run) -> None:
    """At the end of the program they are cancelled, and may clean up."""
    steps: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def work() -> None:
        tasks.append(asyncio.create_task(left()))
        await asyncio.sleep(0)

    run(work())
    assert steps == ["cleaned up"]
    assert tasks[0].cancelled()
