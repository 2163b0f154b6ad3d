"""stream = true: the result can be read while it is produced, and again from its start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cm_exec.handlers import Completion, Handler, HandlerContext
from cm_exec.handlers.spool import MEMORY_LIMIT, StreamingSpool
from cm_exec.protocol.failure import StreamAbortedError
from tests.support.handlers import CollectedStderr, context_of, job_of
from tests.support.pool_handlers import opened

MODES = ("spawn", "prespawn")


class Streamed:
    """A job whose result is read while it runs; the runner marks the end of its spool."""

    def __init__(self, handler: Handler) -> None:
        assert handler.streams
        self.spool: StreamingSpool = handler.new_spool()
        self._task = asyncio.create_task(self._run(handler))

    async def _run(self, handler: Handler) -> Completion:
        completion = await handler.run(job_of(), self.spool, CollectedStderr())
        self.spool.finish(ok=completion.failure is None)
        return completion

    async def ended(self) -> Completion:
        completion = await self._task
        if completion.cleanup is not None:
            await completion.cleanup()
        return completion

    async def reason(self) -> str | None:
        failure = (await self.ended()).failure
        return None if failure is None else failure.reason.value


@asynccontextmanager
async def streamed(
    folder: Path, context: HandlerContext, command: str, mode: str = "spawn", **options: Any
) -> AsyncIterator[Streamed]:
    async with opened(folder, context, command=command, mode=mode, stream=True, **options) as handler:
        job = Streamed(handler)
        yield job
        await job.ended()
        job.spool.close()


@pytest.mark.parametrize("mode", MODES)
async def test_a_part_is_there_before_the_end(tmp_path: Path, context: HandlerContext, mode: str) -> None:
    command = "printf begin; while [ ! -e go ]; do sleep 0.01; done; printf end"
    async with streamed(tmp_path, context, command, mode) as job:
        assert await job.spool.begins()
        chunks = job.spool.live_chunks()
        assert await anext(chunks) == b"begin"
        (tmp_path / "go").touch()
        assert b"".join([chunk async for chunk in chunks]) == b"end"
        assert await job.reason() is None
        assert job.spool.getvalue() == b"".join(job.spool.chunks()) == b"beginend"


@pytest.mark.parametrize("mode", MODES)
async def test_no_output_never_begins(tmp_path: Path, context: HandlerContext, mode: str) -> None:
    async with streamed(tmp_path, context, "true", mode) as job:
        assert not await job.spool.begins()
        assert await job.reason() is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("command", "reason"), [("exit 3", "exit"), ("exec no-such-program", "exit"), ("exec sleep 300", "timeout")]
)
async def test_failure_before_the_first_byte(
    tmp_path: Path, context: HandlerContext, mode: str, command: str, reason: str
) -> None:
    """A stream that fails before its first byte does not begin."""
    async with streamed(tmp_path, context, command, mode, timeout=1) as job:
        assert not await job.spool.begins()
        assert await job.reason() == reason


@pytest.mark.parametrize(
    ("end", "reason"),
    [("exit 3", "exit"), ("kill -9 $$", "signal"), ("exec sleep 300", "timeout"), ("exec yes", "output_limit")],
)
async def test_a_failure_midway_aborts_the_stream(
    tmp_path: Path, context: HandlerContext, end: str, reason: str
) -> None:
    command = f"printf begin; while [ ! -e go ]; do sleep 0.01; done; {end}"
    async with streamed(tmp_path, context, command, timeout=2, max_output=2_000_000) as job:
        chunks = job.spool.live_chunks()
        assert await anext(chunks) == b"begin"
        (tmp_path / "go").touch()
        with pytest.raises(StreamAbortedError):
            [chunk async for chunk in chunks]
        assert await job.reason() == reason


@pytest.mark.parametrize("on_disk", [True, False])
async def test_large_stream(tmp_path: Path, on_disk: bool) -> None:
    """A large stream is complete for a reader that follows it and for a late one."""
    size = 3 * MEMORY_LIMIT + 7
    folder = tmp_path / "spool"
    folder.mkdir()
    context = context_of(folder if on_disk else None)
    async with streamed(tmp_path, context, f"yes 0123456 | head -c {size}") as job:
        live = b"".join([chunk async for chunk in job.spool.live_chunks()])
        assert live == (b"0123456\n" * (size // 8 + 1))[:size]
        assert await job.reason() is None
        assert b"".join(job.spool.chunks()) == live
    assert list(folder.iterdir()) == []


async def test_reader_that_stops(tmp_path: Path, context: HandlerContext) -> None:
    """A reader that stops does not stop the command."""
    async with streamed(tmp_path, context, "head -c 5000000 /dev/zero; touch done") as job:
        await anext(job.spool.live_chunks())
        assert await job.reason() is None
        assert (tmp_path / "done").exists()
        assert job.spool.size == 5_000_000


async def test_shutdown(tmp_path: Path, context: HandlerContext) -> None:
    """The launcher ends a stream when it shuts down."""
    async with streamed(tmp_path, context, "printf x; exec sleep 300") as job:
        chunks = job.spool.live_chunks()
        await anext(chunks)
        context.abort_all()
        with pytest.raises(StreamAbortedError):
            await anext(chunks)
        assert await job.reason() == "shutdown"
