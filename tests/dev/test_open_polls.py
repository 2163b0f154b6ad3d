"""Polls that wait, when what they wait for and their end come in the same moment."""

import asyncio
from typing import Any, cast

from cm_exec.local_runtime.protocol_api import Found, OpenPolls


class Line:
    """The part of a connection that a waiting poll looks at."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self.loop.create_future()


def test_what_was_given_to_a_poll_that_is_cancelled_is_given_back() -> None:
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


def test_a_poll_that_is_gone_gets_nothing_and_the_next_one_does() -> None:
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


def test_after_the_stop_nobody_waits() -> None:
    polls = OpenPolls(take=lambda: None, give_back=lambda _: None)

    async def scene() -> list[Found | None]:
        waits = asyncio.create_task(polls.next(cast("Any", Line()), 60))
        await asyncio.sleep(0)
        polls.stop()
        return [await waits, await polls.next(cast("Any", Line()), 60)]

    assert asyncio.run(scene()) == [None, None]
