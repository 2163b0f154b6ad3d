"""Handlers with long-lived processes: open them, send queries, watch their processes."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.handlers import Handler, HandlerContext
from cm_exec.handlers.factory import create_handlers
from cm_exec.handlers.service import ServiceHandler, ServicePool
from tests.support.asyncio_tests import eventually
from tests.support.handlers import JobRun, function_of, job_of, run
from tests.support.processes import children, has_ended

_FOLDER: Final = Path(__file__).parent
LOOP: Final = (sys.executable, "-S", "-E", str(_FOLDER / "loop_handler.py"))
"""The command of loop_handler.py, quick to start."""

ENVELOPE: Final = (sys.executable, "-S", "-E", str(_FOLDER / "envelope_handler.py"))
"""The command of envelope_handler.py, for several jobs at a time."""


@asynccontextmanager
async def opened(
    folder: Path,
    context: HandlerContext,
    *arguments: str,
    slots: int = 1,
    command: Any = None,
    service: dict[str, Any] | None = None,
    **options: object,
) -> AsyncIterator[Handler]:
    """Yield an open handler of loop_handler.py with these arguments, by default in mode persistent.

    `service` are options of the service behind it. At the end none of its processes may run.
    """
    function = function_of(folder, command or (*LOOP, *arguments), **{"mode": "persistent", **options})
    handler = _service_handler(function, context, slots, service) if service else None
    handler = handler or create_handlers([function], context, slots)["f"]
    await handler.open()
    try:
        yield handler
    finally:
        await handler.close()
    assert not context.trees, "a process tree is still registered"
    assert not loops(), "a process is left"


def _service_handler(function: Function, context: HandlerContext, slots: int, options: dict[str, Any]) -> Handler:
    assert function.service is not None
    return ServiceHandler(function, context, ServicePool(replace(function.service, **options), context, slots))


async def ask_raw(handler: Handler, *query: object, job_id: str = "job-1") -> JobRun:
    """Run one query and return its outcome."""
    return await run(handler, job=job_of(json.dumps(query).encode(), job_id=job_id))


async def ask(handler: Handler, *query: object, job_id: str = "job-1") -> Any:
    """Run one query and return its decoded result."""
    ran = await ask_raw(handler, *query, job_id=job_id)
    assert ran.result is not None, ran
    return json.loads(ran.result)


def loops() -> set[int]:
    """Return the pids of the running processes of loop_handler.py and envelope_handler.py."""
    running = [p for p in children(os.getpid()) if p.state != "Z"]
    while any(not p.command for p in running):
        time.sleep(0.001)  # a process has no command line for a moment while it executes its program
        running = [p for p in children(os.getpid()) if p.state != "Z"]
    return {p.pid for p in running if str(_FOLDER) in p.command}


async def wait_for_another_than(pid: int) -> None:
    """Wait until another process than this one runs."""
    await eventually(lambda: loops() - {pid}, what=f"the replacement of {pid}")


async def wait_for_end(pid: int) -> None:
    await eventually(lambda: has_ended(pid), what=f"the end of {pid}")
