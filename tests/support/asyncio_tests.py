"""Run tests that are coroutines, each on its own event loop."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from cm_exec.processes.worker_loop import new_worker_loop

_LONGEST: Final = 150.0
"""Seconds after which a test that waits for ever fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine. Fails if a callback of its loop raises or a task is left."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with asyncio.Runner(loop_factory=new_worker_loop) as runner:
        runner.run(_run(pyfuncitem.obj(**arguments)))
    return True


async def _run(test: Coroutine[Any, Any, None]) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with asyncio.timeout(_LONGEST):
        await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not faults, faults
    assert not left, left


async def eventually(condition: Callable[[], object], *, what: str, seconds: float = 30.0) -> None:
    """Wait until the condition holds, without blocking the loop. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s"
        await asyncio.sleep(0.01)
