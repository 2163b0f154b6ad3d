"""Mode persistent: one job after another in a process, and no answer that is not the job's own."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cm_exec.handlers import Handler, HandlerContext
from tests.support.asyncio_tests import eventually
from tests.support.handlers import run
from tests.support.pool_handlers import LOOP, ask, ask_raw, loops, opened, wait_for_another_than, wait_for_end
from tests.support.processes import open_descriptors, wait_until


async def test_start_before_the_first_job(tmp_path: Path, context: HandlerContext) -> None:
    """Processes start before the first job."""
    async with opened(tmp_path, context, slots=3) as handler:
        started = loops()
        assert len(started) == 3
        assert await ask(handler, "pid") in started


async def test_a_process_serves_one_job_after_another(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context) as handler:
        assert {await ask(handler, "pid") for _ in range(20)} == loops()


async def test_the_last_used_process_is_taken_first(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, slots=3) as handler:
        first = await ask(handler, "pid")
        assert {await ask(handler, "pid") for _ in range(10)} == {first}


async def test_jobs_at_once_have_a_process_each(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, slots=4) as handler:
        ready, go = [tmp_path / f"ready-{n}" for n in range(4)], str(tmp_path / "go")
        jobs = [asyncio.create_task(ask(handler, "wait_and_reply", str(path), go, job_id=path.name)) for path in ready]
        await eventually(lambda: all(path.exists() for path in ready), what="all four at work")
        Path(go).touch()
        assert len(set(await asyncio.gather(*jobs))) == 4
        assert len(loops()) == 4


async def test_number_of_processes(tmp_path: Path, context: HandlerContext) -> None:
    """There are no more processes than configured."""
    async with opened(tmp_path, context, slots=4, processes=2):
        assert len(loops()) == 2
    async with opened(tmp_path, context, slots=4, max_concurrency=1):
        assert len(loops()) == 1


@pytest.mark.parametrize("framing", ["lines", "content-length"])
@pytest.mark.parametrize("value", [None, 0, "", "ü\t\u2028", {"a": [1.5, {}]}, "x" * 70_000], ids=str)
async def test_a_value_goes_in_and_comes_back(
    tmp_path: Path, context: HandlerContext, framing: str, value: object
) -> None:
    async with opened(tmp_path, context, *frames(framing), protocol=framing) as handler:
        assert [await ask(handler, "echo", value) for _ in range(3)] == [value] * 3


def frames(framing: str) -> list[str]:
    return ["frames"] if framing == "content-length" else []


async def test_a_query_with_line_breaks_is_one_line(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context) as handler:
        for query in (b'[\n"echo",\r\n"a\\nb"\n]\n', b'\r\n\r\n["echo", "a\\nb"]', b'[ "echo"\n\n, "a\\nb"]'):
            assert (await run(handler, query)).result == b'"a\\nb"'
        assert len(loops()) == 1


async def test_frames_carry_any_bytes_both_ways(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, "frames", protocol="content-length") as handler:
        raw = "Content-Length: 6\r\n\r\n\n\0\r\n\xff\n"
        assert (await run(handler, json.dumps(["raw", raw]).encode())).result == b"\n\0\r\n\xff\n"
        assert (await run(handler, b'\n[ "echo",\n1]\n')).result == b"1"


@pytest.mark.parametrize("framing", ["lines", "content-length"])
async def test_32_mb_go_both_ways(tmp_path: Path, context: HandlerContext, framing: str) -> None:
    async with opened(tmp_path, context, *frames(framing), protocol=framing) as handler:
        large = "0123456789abcdef" * 2_000_000
        for _ in range(2):
            ran = await ask_raw(handler, "echo", large)
            assert ran.result == json.dumps(large).encode()
        assert await ask(handler, "echo", 1) == 1
        assert len(loops()) == 1


async def assert_replaced(handler: Handler, pid: int) -> None:
    """Wait until another process than `pid` serves."""
    assert await ask(handler, "pid") != pid
    await wait_for_end(pid)


@pytest.mark.parametrize("framing", ["lines", "content-length"])
async def test_two_results_in_one_write(tmp_path: Path, context: HandlerContext, framing: str) -> None:
    """A second result in the same write fails its own job only."""
    async with opened(tmp_path, context, *frames(framing), protocol=framing) as handler:
        pid = await ask(handler, "pid")
        ran = await ask_raw(handler, "twice")
        assert ran.reason == "out_of_step"
        assert ran.failure is not None
        assert "more than one" in ran.failure.message
        await assert_replaced(handler, pid)


async def test_two_results_and_the_end_at_once(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context) as handler:
        assert (await ask_raw(handler, "twice_and_out")).reason == "out_of_step"
        assert await ask(handler, "echo", 1) == 1


async def test_result_of_an_idle_process(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A result of an idle process does not reach the next job."""
    async with opened(tmp_path, context) as handler:
        pid = await ask(handler, "pid")
        assert await ask(handler, "late", str(tmp_path / "go"), "stray") == "first"
        (tmp_path / "go").touch()
        await eventually(lambda: pid not in loops(), what="the end of the process that spoke unasked")
        await eventually(loops, what="its replacement")
        assert await ask(handler, "echo", 1) == 1
    assert "job job-1 of 'f' was probably answered wrongly" in caplog.text


async def test_output_at_the_start(tmp_path: Path, context: HandlerContext) -> None:
    """A banner never becomes a result: jobs of a process that writes at its start fail."""
    async with opened(tmp_path, context, "say", "ready\n", timeout=20) as handler:
        for _ in range(3):
            ran = await ask_raw(handler, "echo", 1)
            assert ran.result is None
            assert ran.reason == "out_of_step"


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.002])
async def test_second_result_after_a_moment(tmp_path: Path, context: HandlerContext, seconds: float) -> None:
    """A second result shortly after the first does not reach the next job."""
    async with opened(tmp_path, context) as handler:
        for number in range(12):
            ran = await ask_raw(handler, "after", seconds)
            assert ran.result == b'"first"' or ran.reason == "out_of_step"
            ran = await ask_raw(handler, "slow", 0.003, number)
            assert ran.result == b"%d" % number or ran.reason == "out_of_step"


async def test_part_of_a_second_result(tmp_path: Path, context: HandlerContext) -> None:
    """A partial second result does not get into the next result."""
    async with opened(tmp_path, context) as handler:
        for number in range(12):
            await ask_raw(handler, "after_in_part", 0.0015, '["')
            ran = await ask_raw(handler, "slow", 0.003, number)
            assert ran.result == b"%d" % number or ran.reason == "out_of_step"


async def test_cat_is_a_handler_too(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, command=("cat",)) as handler:
        for size in (1, 4094, 4095, 4096, 4097, 100_000, 3_000_000):
            for _ in range(3):
                query = b'"%b"' % (b"q" * size)
                assert (await run(handler, query)).result == query
    async with opened(tmp_path, context, command=("cat",), protocol="content-length") as handler:
        for size in (0, 1, 5000, 300_000):
            assert (await run(handler, b"q" * size)).result == b"q" * size


@pytest.mark.parametrize(("text", "status"), [("4", 0), ("[1,", 0), ("4", 3), (" ", 1)])
async def test_a_partial_line_at_the_end_is_an_error(
    tmp_path: Path, context: HandlerContext, text: str, status: int
) -> None:
    async with opened(tmp_path, context) as handler:
        failure = (await ask_raw(handler, "raw_and_out", text, status)).failed
        assert (failure.reason, failure.exit_code) == (("exit", status) if status else ("out_of_step", None))
        assert status or f"{len(text)} bytes and no line end, and ended" in failure.message
        assert failure.output == text.encode()
        assert await ask(handler, "echo", 1) == 1


@pytest.mark.parametrize("text", ["WARNING: old\n", "[1\n", "\n", "1 2\n"])
async def test_line_that_is_not_json(tmp_path: Path, context: HandlerContext, text: str) -> None:
    """A line that is not JSON is not a result."""
    async with opened(tmp_path, context) as handler:
        pid = await ask(handler, "pid")
        failure = (await ask_raw(handler, "raw", text)).failed
        assert failure.reason == "out_of_step"
        assert "a line that is not JSON" in failure.message
        assert failure.output == text.strip("\n").encode() or not text.strip()
        await assert_replaced(handler, pid)


async def test_debug_line_before_the_result(tmp_path: Path, context: HandlerContext) -> None:
    """A debug line is an error, since the process does not wait for input yet; only a busy machine hides that."""
    async with opened(tmp_path, context) as handler:
        ran = [await ask_raw(handler, "after", 0.002) for _ in range(5)]
        assert all(job.result == b'"first"' or job.reason == "out_of_step" for job in ran)
        assert len([job for job in ran if job.failure is not None]) >= 3


@pytest.mark.parametrize(
    "text", ["hello\n", '{"a": 1}\n', "Content-Length: x\r\n\r\n", "\r\n\r\n", "Content-Length: 1\r\n\r\n12"]
)
async def test_wrong_frame(tmp_path: Path, context: HandlerContext, text: str) -> None:
    """A wrong frame is a desync at once."""
    async with opened(tmp_path, context, "frames", protocol="content-length", timeout=60) as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "raw", text)).reason == "out_of_step"
        await assert_replaced(handler, pid)


async def test_exit_after_the_result(tmp_path: Path, context: HandlerContext) -> None:
    """A result is valid although the process exits after it."""
    async with opened(tmp_path, context) as handler:
        for _ in range(5):
            assert await ask(handler, "last", 0) == "last"


async def test_failure_after_the_result(tmp_path: Path, context: HandlerContext) -> None:
    """A failure after the result is the job's failure, since the supposed result may be a debug line."""
    async with opened(tmp_path, context) as handler:
        failure = (await ask_raw(handler, "last", 3)).failed
        assert (failure.reason, failure.exit_code, failure.output) == ("exit", 3, b'"last"')


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (("exit", 3), ("exit", 3, None)),
        (("exit", 0), ("exit", 0, None)),
        (("kill",), ("signal", None, "SIGKILL")),
    ],
)
async def test_exit_without_a_result(
    tmp_path: Path, context: HandlerContext, query: tuple[object, ...], expected: tuple[object, ...]
) -> None:
    """A process that exits without a result fails its own job only."""
    async with opened(tmp_path, context) as handler:
        pid = await ask(handler, "pid")
        failure = (await ask_raw(handler, *query)).failure
        assert failure is not None
        assert (failure.reason, failure.exit_code, failure.signal) == expected
        await assert_replaced(handler, pid)


async def test_timeout(tmp_path: Path, context: HandlerContext) -> None:
    """A job that hangs is ended with its process."""
    async with opened(tmp_path, context, timeout=1) as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "hang")).reason == "timeout"
        await assert_replaced(handler, pid)


async def test_closed_result_channel(tmp_path: Path, context: HandlerContext) -> None:
    """A process that closes its result channel is replaced."""
    async with opened(tmp_path, context, timeout=1) as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "close_result")).failure is not None
        await assert_replaced(handler, pid)


@pytest.mark.parametrize("framing", ["lines", "content-length"])
async def test_the_output_limit_is_exact(tmp_path: Path, context: HandlerContext, framing: str) -> None:
    async with opened(tmp_path, context, *frames(framing), protocol=framing, max_output=100_000) as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "ones", 100_000)).result == b"1" * 100_000
        assert (await ask_raw(handler, "ones", 100_001)).reason == "output_limit"
        await assert_replaced(handler, pid)


async def test_invalid_output(tmp_path: Path, context: HandlerContext) -> None:
    """Output is checked, and a process that fails the check is replaced."""
    async with opened(tmp_path, context, "frames", protocol="content-length", output="json") as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "raw", "Content-Length: 2\r\n\r\n[1")).reason == "invalid_output"
        await assert_replaced(handler, pid)
    async with opened(tmp_path, context, output="text") as handler:
        assert (await ask_raw(handler, "raw", "a b\n")).result == b'"a b"'


async def test_max_jobs_recycles_a_process(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, max_jobs=3) as handler:
        pids = [await ask(handler, "pid") for _ in range(9)]
    assert [len(set(pids[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


async def test_idle_timeout(tmp_path: Path, context: HandlerContext) -> None:
    """The idle timeout ends a process, and a job starts another one."""
    async with opened(tmp_path, context, slots=2, idle_timeout=0.3) as handler:
        pid = await ask(handler, "pid")
        await eventually(lambda: not loops(), what="the end of all that waited")
        assert await ask(handler, "pid") != pid


async def test_replacement_of_an_idle_process(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture
) -> None:
    """An idle process that dies is replaced."""
    every: tuple[dict[str, Any], ...] = ({}, {"idle_timeout": 300})
    for options in every:
        async with opened(tmp_path, context, **options) as handler:
            pid = await ask(handler, "pid")
            os.kill(pid, signal.SIGKILL)
            await wait_for_another_than(pid)
            assert await ask(handler, "echo", 1) == 1
        assert "ended between jobs, by SIGKILL" in caplog.text
        caplog.clear()


async def test_exit_of_an_idle_process(tmp_path: Path, context: HandlerContext) -> None:
    """The death of an idle process fails no job."""
    async with opened(tmp_path, context) as handler:
        for number in range(10):
            pid = await ask(handler, "pid")
            os.kill(pid, signal.SIGKILL)
            await wait_for_end(pid)
            assert await ask(handler, "echo", number) == number


async def test_failing_command(tmp_path: Path, context: HandlerContext) -> None:
    """A command that always dies is started at growing intervals, and its jobs are answered."""
    note = tmp_path / "note"
    note.touch()
    async with opened(tmp_path, context, "note", str(note), "die", "5", slots=2) as handler:
        await eventually(lambda: len(note.read_text().split()) >= 4, what="some starts")
        for _ in range(3):
            failure = (await ask_raw(handler, "echo", 1)).failure
            assert failure is not None
            assert (failure.reason, failure.exit_code) == ("not_started", 5)
    assert len(note.read_text().split()) < 30


async def test_missing_command(tmp_path: Path, context: HandlerContext) -> None:
    """A missing command is reported, and the next job tries to start it again."""
    async with opened(tmp_path, context, command=("./program",)) as handler:
        failure = (await ask_raw(handler, "echo", 1)).failure
        assert failure is not None
        assert (failure.reason, failure.exit_code) == ("not_started", 127)
        # by another process: what the pool starts meanwhile would inherit a descriptor for writing ("text file busy")
        script = "printf '#!/bin/sh\\nexec cat\\n' >program && chmod +x program"
        subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, check=True)
        assert await ask(handler, "echo", 1) == ["echo", 1]


async def test_late_stderr_belongs_to_the_job_before(tmp_path: Path, context: HandlerContext) -> None:
    """It may hold that job's token, and the next caller must not see it."""
    async with opened(tmp_path, context) as handler:
        assert (await ask_raw(handler, "noisy", "of the job\n")).stderr == b"of the job\n"
        before = await ask_raw(handler, "late_noise", str(tmp_path / "go"), "late\n")
        (tmp_path / "go").touch()
        await eventually(lambda: before.sink.text == b"late\n", what="the late line")
        assert (await ask_raw(handler, "exit", 3)).failed.stderr == b""


async def test_late_stderr(tmp_path: Path, context: HandlerContext) -> None:
    """The stderr that is in the pipe when a job begins belongs to the previous job."""
    async with opened(tmp_path, context) as handler:
        before = await ask_raw(handler, "late_noise", str(tmp_path / "go"), "late\n")
        (tmp_path / "go").touch()
        wait_until((tmp_path / "go.done").exists, what="the late line")  # holds the loop, which does not see it
        failure = (await ask_raw(handler, "exit", 3)).failed
        assert (failure.reason, failure.stderr) == ("exit", b"")
        assert before.sink.text == b"late\n"


async def test_stderr_before_the_first_job(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture
) -> None:
    """The log gets the stderr from before the first job."""
    caplog.set_level("INFO", logger="cm_exec.handler")
    async with opened(tmp_path, context, command="echo loading >&2; exec cat") as handler:
        await eventually(lambda: b"loading\n" in [record.msg for record in caplog.records], what="the line")
        (record,) = (record for record in caplog.records if record.msg == b"loading\n")
        assert getattr(record, "tags", None) == {"function": "f"}
        assert (await run(handler, b"1")).stderr == b""


async def test_unbuffered_python(tmp_path: Path, context: HandlerContext) -> None:
    """Python does not buffer its output by default."""
    async with opened(tmp_path, context) as handler:
        assert await ask(handler, "env", "PYTHONUNBUFFERED") == "1"
    async with opened(tmp_path, context, env={"PYTHONUNBUFFERED": ""}) as handler:
        assert await ask(handler, "env", "PYTHONUNBUFFERED") == ""
    script = "import sys\nfor line in sys.stdin: print(len(line))"  # buffered, it would never answer
    async with opened(tmp_path, context, command=(LOOP[0], "-c", script), timeout=30) as handler:
        assert (await run(handler, b"12345")).result == b"6"


async def test_environment_without_a_job(tmp_path: Path, context: HandlerContext) -> None:
    """The environment of a persistent process contains no job."""
    async with opened(tmp_path, context) as handler:
        assert [await ask(handler, "env", name) for name in ("CM_JOB_ID", "CM_QUERY_TYPE", "CM_USER_ID")] == [None] * 3


async def test_shutdown(tmp_path: Path, context: HandlerContext) -> None:
    """The launcher ends running jobs when it shuts down."""
    async with opened(tmp_path, context) as handler:
        job = asyncio.create_task(ask_raw(handler, "hang", str(tmp_path / "ready")))
        await eventually((tmp_path / "ready").exists, what="the job's begin")
        context.abort_all()
        assert (await job).reason == "shutdown"


async def test_no_descriptor_is_left_behind(tmp_path: Path, context: HandlerContext) -> None:
    async def jobs() -> None:
        async with opened(tmp_path, context, slots=2, max_output=100_000) as handler:
            await ask(handler, "echo", "x" * 50_000)
            await ask_raw(handler, "exit", 1)
            await ask_raw(handler, "twice")
            await ask_raw(handler, "ones", 200_000)
        async with opened(tmp_path, context, command=("no-such-program",)) as handler:
            await ask_raw(handler, "echo", 1)

    await jobs()
    before = open_descriptors(os.getpid())
    for _ in range(5):
        await jobs()
    assert open_descriptors(os.getpid()) == before


async def test_large_descriptors(tmp_path: Path, context: HandlerContext) -> None:
    """Descriptors above 1023 work like all others."""
    taken = [os.dup(0) for _ in range(1100)]
    try:
        async with opened(tmp_path, context) as handler:
            assert [await ask(handler, "echo", n) for n in range(5)] == list(range(5))
    finally:
        for fd in taken:
            os.close(fd)
