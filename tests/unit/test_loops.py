"""Deadlines that move, on a real loop."""

import asyncio

from cm_exec.loops import Deadline

LONG = 3600.0


async def test_a_deadline_passes_once() -> None:
    passed = asyncio.Event()
    deadline = Deadline()
    deadline.set(0.0, passed.set)
    assert deadline.is_set
    await passed.wait()
    assert not deadline.is_set


async def test_a_later_deadline_replaces_an_earlier_one() -> None:
    """The timer of the first one finds that its time has moved."""
    calls: list[str] = []
    passed = asyncio.Event()
    deadline = Deadline()
    deadline.set(0.0, lambda: calls.append("first"))
    deadline.set(0.02, passed.set)
    await passed.wait()
    assert calls == []


async def test_an_earlier_deadline_replaces_a_later_one() -> None:
    passed = asyncio.Event()
    deadline = Deadline()
    deadline.set(LONG, lambda: None)
    deadline.set(0.0, passed.set)
    await passed.wait()


async def test_a_deadline_that_is_cleared_does_not_pass() -> None:
    calls: list[str] = []
    after = asyncio.Event()
    deadline = Deadline()
    deadline.set(0.0, lambda: calls.append("passed"))
    deadline.clear()
    asyncio.get_running_loop().call_later(0.01, after.set)
    await after.wait()
    assert (calls, deadline.is_set) == ([], False)
