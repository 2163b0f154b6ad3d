"""Processes with the envelope: several jobs at a time, and each answer names its job."""

import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from cm_exec.handlers import Handler, HandlerContext
from cm_exec.protocol.failure import Reason
from tests.support.asyncio_tests import eventually
from tests.support.handlers import JobRun, job_of, run
from tests.support.pool_handlers import ENVELOPE, ask, ask_raw, loops, opened, wait_for_end


def served(
    folder: Path, context: HandlerContext, *arguments: str, jobs: int = 4, slots: int = 4, **options: Any
) -> AbstractAsyncContextManager[Handler]:
    """Open a handler with one process for `jobs` jobs at a time."""
    service = {"jobs_per_process": jobs, "processes": 1, **options.pop("service", {})}
    command = (*ENVELOPE, *arguments)
    return opened(folder, context, command=command, slots=slots, envelope=True, service=service, **options)


async def start(handler: Handler, verb: str, ready: Path, *arguments: str) -> "asyncio.Task[JobRun]":
    """Start a job and wait until its process has it."""
    job = asyncio.create_task(ask_raw(handler, verb, str(ready), *arguments, job_id=ready.name))
    await eventually(ready.exists, what="the job's begin")
    return job


@pytest.mark.parametrize("framing", ["lines", "content-length"])
async def test_results_in_any_order(tmp_path: Path, context: HandlerContext, framing: str) -> None:
    """Jobs share a process, which answers them in any order."""
    arguments = ["frames"] if framing == "content-length" else []
    async with served(tmp_path, context, *arguments, protocol=framing) as handler:
        jobs = [
            await start(handler, "hold", tmp_path / f"job-{n}", str(tmp_path / f"go-{n}"), f"{n}") for n in range(3)
        ]
        assert await ask(handler, "echo", {"x": [1]}, job_id="another") == {"x": [1]}
        for number in (2, 0, 1):
            (tmp_path / f"go-{number}").touch()
            assert (await jobs[number]).result == b'"%d"' % number
        assert len(loops()) == 1


async def test_a_full_process_gets_no_further_job(tmp_path: Path, context: HandlerContext) -> None:
    async with served(tmp_path, context, jobs=2) as handler:
        jobs = [await start(handler, "hold", tmp_path / f"job-{n}", str(tmp_path / f"go-{n}"), "x") for n in range(2)]
        third = asyncio.create_task(ask(handler, "echo", 1, job_id="third"))
        await asyncio.sleep(0.2)
        assert not third.done()
        (tmp_path / "go-0").touch()
        assert await third == 1
        (tmp_path / "go-1").touch()
        assert {(await job).result for job in jobs} == {b'"x"'}


async def test_the_envelope_describes_the_job(tmp_path: Path, context: HandlerContext) -> None:
    job = job_of(b'["members"]', job_id="j", user_id="u", auth_header="Bearer a")
    plain = {"jobId": "j", "queryType": "f", "userId": "u", "query": ["members"]}
    async with served(tmp_path, context) as handler:
        assert json.loads((await run(handler, job=job)).result or b"") == plain
    async with served(tmp_path, context, credentials=True) as handler:
        members = json.loads((await run(handler, job=job)).result or b"")
        assert members == {**plain, "authHeader": "Bearer a", "temporaryCredentialsAuthToken": None}


async def test_error_of_a_handler(tmp_path: Path, context: HandlerContext) -> None:
    """An error of the handler is passed on unchanged, and its process continues."""
    async with served(tmp_path, context) as handler:
        pid = await ask(handler, "pid")
        for error in ("text", {"any": ["JSON"]}):
            failure = (await ask_raw(handler, "members_of", {"error": error})).failed
            assert (failure.reason, failure.exit_code) == ("handler", None)
            assert failure.error is not None
            assert json.loads(bytes(failure.error)) == error
        assert await ask(handler, "pid") == pid


async def test_chunks_and_log_lines(tmp_path: Path, context: HandlerContext) -> None:
    """Chunks form one result, and log lines belong to their job."""
    async with served(tmp_path, context) as handler:
        ran = await ask_raw(handler, "members_of", {"chunk": 1}, {"log": "a\nb"}, {"chunk": [2]}, {"end": True})
        assert (ran.result, ran.stderr) == (b"1[2]", b"a\nb\n")
        assert (await ask_raw(handler, "members_of", {"end": True})).result == b""


@pytest.mark.parametrize(
    "query",
    [
        ["send", {"jobId": "nobody", "result": 1}],
        ["send", {"result": 1}],
        ["raw", "debug\n"],
        ["raw", '{"jobId":"job-1"}\n'],
        ["raw", '{"jobId":"job-1","result":null,"error":"boom"}\n'],
        ["members_of", {"chunk": 1}, {"result": 2}],
    ],
    ids=json.dumps,
)
async def test_desync(tmp_path: Path, context: HandlerContext, query: list[object]) -> None:
    """After a desync each job gets its own error, and the process is replaced."""
    async with served(tmp_path, context) as handler:
        pid = await ask(handler, "pid")
        other = await start(handler, "hold", tmp_path / "other", str(tmp_path / "never"), "x")
        assert (await ask_raw(handler, *query)).reason == "out_of_step"
        assert (await other).reason == "out_of_step"
        assert await ask(handler, "pid") != pid
        await wait_for_end(pid)


async def test_exit(tmp_path: Path, context: HandlerContext) -> None:
    """The exit of a process fails its jobs, and the process is replaced."""
    async with served(tmp_path, context) as handler:
        other = await start(handler, "hold", tmp_path / "other", str(tmp_path / "never"), "x")
        failures = [(await ask_raw(handler, "exit", 3)).failed, (await other).failed]
        assert [(failure.reason, failure.exit_code) for failure in failures] == [("exit", 3)] * 2
        assert await ask(handler, "echo", 1) == 1


async def test_half_message_at_exit(tmp_path: Path, context: HandlerContext) -> None:
    """A process that ends within a message fails its jobs, and the error shows the part that came."""
    async with served(tmp_path, context) as handler:
        failed = (await ask_raw(handler, "raw_and_exit", '{"jobId":"job-1","result":4')).failed
        assert (failed.reason, failed.output) == ("out_of_step", b'{"jobId":"job-1","result":4')
        assert "27 bytes and no line end, and ended" in failed.message
        assert await ask(handler, "echo", 1) == 1


async def test_timeout(tmp_path: Path, context: HandlerContext) -> None:
    """A process gets no further job after a timeout until it has answered the cancelled one."""
    async with served(tmp_path, context, timeout=0.5) as handler:
        pid = await ask(handler, "pid")
        failure = (await ask_raw(handler, "until_cancelled", str(tmp_path / "ready"))).failed
        assert failure.reason == "timeout"
        assert "it wrote no answer" in failure.message
        assert await ask(handler, "pid", job_id="next") == pid, "it was notified, and its late answer is dropped"


async def test_one_job_can_be_ended_beside_others(tmp_path: Path, context: HandlerContext) -> None:
    async with served(tmp_path, context) as handler:
        other = await start(handler, "hold", tmp_path / "other", str(tmp_path / "go"), "x")
        ended = await start(handler, "until_cancelled", tmp_path / "ended")
        context.abort("ended", Reason.SHUTDOWN)
        assert (await ended).reason == "shutdown"
        (tmp_path / "go").touch()
        assert (await other).result == b'"x"'


async def test_output_limit(tmp_path: Path, context: HandlerContext) -> None:
    """The output limit ends one job and not its process."""
    async with served(tmp_path, context, max_output=1000) as handler:
        pid = await ask(handler, "pid")
        assert (await ask_raw(handler, "echo", "x" * 998)).result == b'"%b"' % (b"x" * 998)
        assert (await ask_raw(handler, "echo", "x" * 999)).reason == "output_limit"
        assert await ask(handler, "pid", job_id="next") == pid


async def test_stderr(tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture) -> None:
    """Stderr belongs to the process's job only if there is a single job."""
    caplog.set_level("INFO", logger="cm_exec.handler")
    async with served(tmp_path, context) as handler:
        assert (await ask_raw(handler, "stderr", "alone\n")).stderr == b"alone\n"
        other = await start(handler, "hold", tmp_path / "other", str(tmp_path / "go"), "x")
        assert (await ask_raw(handler, "stderr", "beside another\n")).stderr == b""
        (tmp_path / "go").touch()
        assert (await other).stderr == b""
        await eventually(lambda: b"beside another\n" in [r.msg for r in caplog.records], what="the line in the log")


async def test_tokens_in_the_log(tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture) -> None:
    """The log contains no token of any job of the process."""
    caplog.set_level("INFO", logger="cm_exec.handler")
    async with served(tmp_path, context, credentials=True) as handler:
        query = json.dumps(["hold", str(tmp_path / "ready"), str(tmp_path / "go"), "x"]).encode()
        one = asyncio.create_task(run(handler, job=job_of(query, job_id="one", auth_header="Bearer s3cret")))
        await eventually((tmp_path / "ready").exists, what="the job's begin")
        await ask_raw(handler, "stderr", "I know Bearer s3cret, or s3cret\n")
        (tmp_path / "go").touch()
        await one
        lines = [record.msg for record in caplog.records if isinstance(record.msg, bytes)]
        assert lines == [b"I know [redacted], or [redacted]\n"]


async def test_a_process_may_say_when_it_is_ready(tmp_path: Path, context: HandlerContext) -> None:
    go = tmp_path / "ready"
    async with served(tmp_path, context, "ready", str(go), timeout=0.5, service={"ready": "message"}) as handler:
        job = asyncio.create_task(ask(handler, "echo", 1))
        await asyncio.sleep(0.7)
        assert not job.done(), "the start is not the job: its timeout has not begun"
        go.touch()
        assert await job == 1


async def test_jobs_that_wait_for_the_start(tmp_path: Path, context: HandlerContext) -> None:
    """Jobs that waited for the start run concurrently."""
    go = tmp_path / "ready"
    async with served(tmp_path, context, "ready", str(go), service={"ready": "message"}) as handler:
        ready = [tmp_path / f"job-{n}" for n in range(4)]
        jobs = [
            asyncio.create_task(ask_raw(handler, "hold", str(path), str(tmp_path / "go"), "x", job_id=path.name))
            for path in ready
        ]
        await asyncio.sleep(0.1)
        go.touch()
        await eventually(lambda: all(path.exists() for path in ready), what="all four at once", seconds=10)
        (tmp_path / "go").touch()
        assert {(await job).result for job in jobs} == {b'"x"'}


async def test_start_timeout(tmp_path: Path, context: HandlerContext) -> None:
    """A process that is not ready in time fails the jobs that wait for it."""
    service = {"ready": "message", "start_timeout": 0.3}
    async with served(tmp_path, context, "ready", str(tmp_path / "never"), service=service) as handler:
        failure = (await ask_raw(handler, "echo", 1)).failed
        assert failure.reason == "not_started"
        assert "was not ready within 0.3 s" in failure.message


async def test_max_jobs_recycles_a_process(tmp_path: Path, context: HandlerContext) -> None:
    async with served(tmp_path, context, max_jobs=3) as handler:
        pids = [await ask(handler, "pid", job_id=f"{n}") for n in range(9)]
    assert [len(set(pids[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


@pytest.mark.parametrize("size", [100, 300_000, 3_000_000])
async def test_large_jobs_at_once(tmp_path: Path, context: HandlerContext, size: int) -> None:
    async with served(tmp_path, context) as handler:
        values = [f"{n}" * size for n in range(4)]
        assert await asyncio.gather(*(ask(handler, "echo", v, job_id=v[0]) for v in values)) == values


async def test_process_that_is_ended_after_it_closed_its_stdout(
    tmp_path: Path, context: HandlerContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that closes its stdout, and is ended before its exit is overdue, is not reported as out of step."""
    code = "import os, sys; os.close(1); open(sys.argv[1], 'w').close(); sys.stdin.read()"
    closed = tmp_path / "closed"
    command = (sys.executable, "-c", code, str(closed))
    async with opened(tmp_path, context, command=command, envelope=True, start_timeout=60):
        await eventually(closed.exists, what="the end of its stdout")
        await asyncio.sleep(0.05)
    await asyncio.sleep(context.graces.terminate + 0.1)
    assert "wrote no more answers" not in caplog.text
