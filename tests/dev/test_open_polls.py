"""Open polls whose job and whose end come at the same moment."""

import asyncio
from typing import Any, cast

from cm_exec.local_runtime.protocol_api import Found, OpenPolls


class Line:
    """The part of a connection that an open poll uses."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self.loop.create_future()


def test_cancelled_poll() -> None:
    """A poll that is cancelled returns the job that it got."""
    stock: list[Found] = []
    returned: list[Found] = []
    polls = OpenPolls(take=lambda: stock.pop() if stock else None, give_back=returned.append)

    async def scene() -> None:
        poll = asyncio.create_task(polls.next(cast("Any", Line()), 60))
        await asyncio.sleep(0)
        assert polls.count == 1
        stock.append(b"a job")
        polls.offer()
        poll.cancel()
        await asyncio.wait([poll])

    asyncio.run(scene())
    assert (stock, returned, polls.count) == ([], [b"a job"], 0)


def test_disconnected_poll() -> None:
    """A poll whose connection is closed gets nothing, and the next poll gets the job."""
    stock: list[Found] = []
    polls = OpenPolls(take=lambda: stock.pop() if stock else None, give_back=stock.append)

    async def scene() -> tuple[Found | None, Found | None]:
        line = Line()
        gone = asyncio.create_task(polls.next(cast("Any", line), 60))
        waits = asyncio.create_task(polls.next(cast("Any", Line()), 60))
        await asyncio.sleep(0)
        line.lost.set_result(None)
        await asyncio.sleep(0)
        stock.append(b"a job")
        polls.offer()
        return await gone, await waits

    assert asyncio.run(scene()) == (None, b"a job")


def test_stop() -> None:
    """No poll waits after the stop."""
    polls = OpenPolls(take=lambda: None, give_back=lambda _: None)

    async def scene() -> list[Found | None]:
        waits = asyncio.create_task(polls.next(cast("Any", Line()), 60))
        await asyncio.sleep(0)
        polls.stop()
        return [await waits, await polls.next(cast("Any", Line()), 60)]

    assert asyncio.run(scene()) == [None, None]
