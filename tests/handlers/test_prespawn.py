"""Mode prespawn: as spawn, with the start of the process off the job's path."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cm_exec.handlers import HandlerContext
from tests.support.asyncio_tests import eventually
from tests.support.handlers import run
from tests.support.pool_handlers import LOOP, ask, ask_raw, loops, opened, wait_for_another_than, wait_for_end
from tests.support.processes import has_ended, open_descriptors, wait_until

MODE: dict[str, Any] = {"mode": "prespawn"}


async def test_first_job(tmp_path: Path, context: HandlerContext) -> None:
    """The first job finds a running process, and each job has its own."""
    async with opened(tmp_path, context, slots=2, **MODE) as handler:
        waiting = loops()
        assert len(waiting) == 2
        pid = await ask(handler, "pid")
        assert pid in waiting
        assert await ask(handler, "pid") != pid


async def test_no_more_processes_wait_than_jobs_may_run(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, slots=4, max_concurrency=1, **MODE):
        assert len(loops()) == 1


async def test_next_process(tmp_path: Path, context: HandlerContext) -> None:
    """The next process starts when a job has taken one."""
    starts = tmp_path / "starts"
    starts.touch()
    async with opened(tmp_path, context, command="echo x >> starts; cat", **MODE) as handler:
        await eventually(lambda: len(starts.read_text()) == 2, what="the first start")
        assert (await run(handler, b"1")).result == b"1"
        await eventually(lambda: len(starts.read_text()) == 4, what="the second start")


@pytest.mark.parametrize("query", [b"", b"null", b"q" * 4097, b"q" * 3_000_000], ids=len)
async def test_query_and_result(tmp_path: Path, context: HandlerContext, query: bytes) -> None:
    """The query and the output pass byte for byte."""
    async with opened(tmp_path, context, command="cat", **MODE) as handler:
        assert [(await run(handler, query)).result for _ in range(3)] == [query] * 3


async def test_output_before_the_query(tmp_path: Path, context: HandlerContext) -> None:
    """Output from before the query belongs to the result."""
    command = "printf header; printf noise >&2; touch written; cat; printf footer"
    async with opened(tmp_path, context, command=command, **MODE) as handler:
        await eventually((tmp_path / "written").exists, what="the header")
        assert (await run(handler, b"-")).result == b"header-footer"


@pytest.mark.parametrize(
    ("query", "reason"),
    [(b"exit 3", "exit"), (b"kill -9 $$", "signal"), (b"exec sleep 300", "timeout"), (b"yes", "output_limit")],
)
async def test_the_ways_to_end_are_those_of_spawn(
    tmp_path: Path, context: HandlerContext, query: bytes, reason: str
) -> None:
    async with opened(tmp_path, context, command="read -r x; eval $x", timeout=1, max_output=1000, **MODE) as handler:
        assert (await run(handler, query + b"\n")).reason == reason
        assert (await run(handler, b"printf r\n")).result == b"r"


@pytest.mark.parametrize("options", [{}, {"idle_timeout": 300}], ids=str)
async def test_exit_of_an_idle_process(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """A process that dies while it waits is replaced, and fails no job."""
    async with opened(tmp_path, context, **MODE, **options) as handler:
        (pid,) = loops()
        os.kill(pid, signal.SIGKILL)
        await wait_for_another_than(pid)
        assert await ask(handler, "echo", 1) == 1
    assert "ended before it had a job, by SIGKILL" in caplog.text


async def test_exit_just_before_a_job(tmp_path: Path, context: HandlerContext) -> None:
    """A process that has just died fails no job, even before the loop has noticed its exit."""
    async with opened(tmp_path, context, **MODE) as handler:
        (pid,) = loops()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: has_ended(pid), what="its end")
        assert await ask(handler, "echo", 1) == 1


async def test_failing_command(tmp_path: Path, context: HandlerContext) -> None:
    """A command that always dies is started at growing intervals, and its jobs are answered."""
    note = tmp_path / "note"
    note.touch()
    async with opened(tmp_path, context, "note", str(note), "die", "5", slots=2, **MODE) as handler:
        await eventually(lambda: len(note.read_text().split()) >= 4, what="some starts")
        for _ in range(3):
            failure = (await ask_raw(handler, "echo", 1)).failed
            assert (failure.reason, failure.exit_code) == ("exit", 5)
    assert len(note.read_text().split()) < 40


async def test_missing_command(tmp_path: Path, context: HandlerContext) -> None:
    """A missing command is reported."""
    async with opened(tmp_path, context, command=("./no-such-program",), **MODE) as handler:
        failure = (await run(handler)).failed
        assert (failure.reason, failure.exit_code) == ("not_started", 127)


async def test_idle_timeout(tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture) -> None:
    """A process that has waited too long is replaced silently."""
    async with opened(tmp_path, context, idle_timeout=0.3, **MODE) as handler:
        (pid,) = loops()
        await wait_for_end(pid)
        await wait_for_another_than(pid)
        assert await ask(handler, "echo", 1) == 1
    assert not [record for record in caplog.records if record.levelno >= 30]


async def test_stderr_of_one_that_waits_goes_to_the_log(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cm_exec.handler")
    async with opened(tmp_path, context, command="echo loading >&2; cat", **MODE):
        await eventually(lambda: b"loading\n" in [record.msg for record in caplog.records], what="the line in the log")


async def test_flood_on_stderr(tmp_path: Path, context: HandlerContext) -> None:
    """A flood on stderr does not block a waiting process."""
    command = "head -c 1000000 /dev/zero >&2; touch loaded; cat"
    async with opened(tmp_path, context, command=command, **MODE) as handler:
        await eventually((tmp_path / "loaded").exists, what="the end of the flood")
        assert (await run(handler, b"1")).result == b"1"


async def test_closed_stderr(tmp_path: Path, context: HandlerContext) -> None:
    """A process that closes its stderr continues to wait."""
    async with opened(tmp_path, context, command="exec 2>&-; touch closed; exec cat", **MODE) as handler:
        await eventually((tmp_path / "closed").exists, what="the end of stderr")
        await asyncio.sleep(0.1)
        assert (await run(handler, b"1")).result == b"1"


async def test_the_environment_names_no_job(tmp_path: Path, context: HandlerContext) -> None:
    script = "import os, sys, json; sys.stdin.read(); print(json.dumps(sorted(n for n in os.environ if 'CM_' in n)))"
    async with opened(tmp_path, context, command=(LOOP[0], "-c", script), **MODE) as handler:
        assert "CM_JOB_ID" not in json.loads((await run(handler)).result or b"")


async def test_no_descriptor_is_left_behind(tmp_path: Path, context: HandlerContext) -> None:
    async def jobs() -> None:
        async with opened(tmp_path, context, slots=2, max_output=100_000, **MODE) as handler:
            await ask(handler, "echo", "x" * 50_000)
            await ask_raw(handler, "exit", 1)
            await ask_raw(handler, "ones", 200_000)

    await jobs()
    before = open_descriptors(os.getpid())
    for _ in range(5):
        await jobs()
    assert open_descriptors(os.getpid()) == before
