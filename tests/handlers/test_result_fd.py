"""result_fd = 3: the result is what is written to descriptor 3, whatever is printed."""

import asyncio
import json
from pathlib import Path

import pytest

from cm_exec.handlers import HandlerContext
from tests.support.handlers import run
from tests.support.pool_handlers import ask_raw, opened

pytestmark = pytest.mark.descriptor_3

MODES = ("spawn", "prespawn", "persistent")

PRINTING = "echo printed; read -r x; printf 'result of %s\\n' \"$x\" >&3; echo more >&2"


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
async def test_stdout_and_result(tmp_path: Path, context: HandlerContext, mode: str) -> None:
    """Stdout is a log, and descriptor 3 is the result."""
    async with opened(tmp_path, context, command=PRINTING, mode=mode, result_fd=3) as handler:
        ran = await run(handler, b"1\n")
        assert ran.result == b"result of 1\n"
        assert mode == "prespawn" or ran.stderr == b"printed\nmore\n"
        assert ran.stderr.endswith(b"more\n")


async def test_persistent_process(tmp_path: Path, context: HandlerContext) -> None:
    """A persistent process may print at any time."""
    async with opened(tmp_path, context, "fd3", result_fd=3) as handler:
        for number in range(5):
            ran = await ask_raw(handler, "printing", f"some noise {number}\n")
            assert ran.result == b'"printed"'
            assert ran.stderr == f"some noise {number}\n".encode()


async def test_frames_come_by_descriptor_3_as_well(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, "fd3", "frames", result_fd=3, protocol="content-length") as handler:
        assert (await ask_raw(handler, "printing", "Content-Length: 1\r\n\r\n1")).result == b'"printed"'


async def test_a_failure_shows_what_was_printed(tmp_path: Path, context: HandlerContext) -> None:
    for mode in MODES:
        command = "read -r x; echo printed; exit 3"
        async with opened(tmp_path, context, command=command, mode=mode, result_fd=3) as handler:
            failure = (await run(handler, b"1\n")).failed
        assert (failure.reason, failure.exit_code, failure.stderr) == ("exit", 3, b"printed\n"), mode


async def test_empty_result(tmp_path: Path, context: HandlerContext) -> None:
    """A job without output on descriptor 3 has an empty result."""
    for mode in ("spawn", "prespawn"):
        async with opened(tmp_path, context, command="echo printed", mode=mode, result_fd=3) as handler:
            assert (await run(handler)).result == b""


async def test_a_stream_comes_by_descriptor_3(tmp_path: Path, context: HandlerContext) -> None:
    command = "echo log; echo 1 >&3; echo log; echo 2 >&3"
    for mode in ("spawn", "prespawn"):
        async with opened(tmp_path, context, command=command, mode=mode, result_fd=3, stream=True) as handler:
            assert (await run(handler)).result == b"1\n2\n"


async def test_output_limit(tmp_path: Path, context: HandlerContext) -> None:
    """The output limit applies to the result, not to stdout."""
    command = "head -c 1000000 /dev/zero; head -c $(cat) /dev/zero >&3"
    async with opened(tmp_path, context, command=command, mode="spawn", result_fd=3, max_output=100_000) as handler:
        assert (await run(handler, b"100000")).result == bytes(100_000)
        assert (await run(handler, b"100001")).reason == "output_limit"


async def test_inherited_descriptors(tmp_path: Path, context: HandlerContext) -> None:
    """A process inherits only the descriptors 0 to 3, even if jobs start concurrently."""
    command = "exec 1>&3; for f in /proc/self/fd/*; do if [ -e $f ]; then echo ${f##*/}; fi; done"
    async with opened(tmp_path, context, command=command, mode="spawn", result_fd=3, slots=4) as handler:
        ran = await asyncio.gather(*(run(handler) for _ in range(40)))
        assert {job.result for job in ran} == {b"0\n1\n2\n3\n"}


async def test_without_it_descriptor_3_is_closed(tmp_path: Path, context: HandlerContext) -> None:
    async with opened(tmp_path, context, command="(echo x >&3) 2>/dev/null || printf closed", mode="spawn") as handler:
        assert (await run(handler)).result == b"closed"


async def test_concurrent_jobs(tmp_path: Path, context: HandlerContext) -> None:
    """The same processes answer many concurrent jobs."""
    async with opened(tmp_path, context, "fd3", slots=3, result_fd=3) as handler:

        async def jobs(start: int) -> list[int]:
            return [
                json.loads((await ask_raw(handler, "echo", start + n, job_id=str(start))).result or b"")
                for n in range(20)
            ]

        answers = await asyncio.gather(*map(jobs, (0, 100, 200)))
        assert answers == [[start + n for n in range(20)] for start in (0, 100, 200)]
