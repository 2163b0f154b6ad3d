"""Mode spawn: bytes in, bytes out, and an exact answer for each way in which a command can end."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import pytest

from cm_exec.handlers import HandlerContext
from cm_exec.handlers.spool import MEMORY_LIMIT
from cm_exec.processes.termination import Graces
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason
from tests.support.asyncio_tests import eventually
from tests.support.handlers import CollectedStderr, JobRun, context_of, function_of, handler_of, job_of, run
from tests.support.processes import open_descriptors, wait_until

RunCommand = Callable[..., Coroutine[None, None, JobRun]]
PYTHON = (sys.executable, "-S", "-E", "-c")


@pytest.mark.parametrize(
    "query", [b"", b"null", b'{"a": 1.10}\n', bytes(range(256)) * 20, b"q" * 4096, b"q" * 4097, b"q" * 3_000_000]
)
async def test_query_and_result(run_command: RunCommand, query: bytes) -> None:
    """The query and the output pass byte for byte."""
    assert (await run_command(("cat",), query)).result == query


async def test_no_output_is_an_empty_result(run_command: RunCommand) -> None:
    assert (await run_command("true")).result == b""


async def test_shell_and_argv(run_command: RunCommand) -> None:
    """The shell runs a string, and a list is run directly."""
    assert (await run_command("printf %s $((6 * 7))")).result == b"42"
    assert (await run_command(("printf", "%s", "$((6 * 7))"))).result == b"$((6 * 7))"


async def test_large_traffic(run_command: RunCommand) -> None:
    """Large traffic in both directions does not deadlock."""
    script = "head -c 5000000 /dev/zero; cat >/dev/null; head -c 5000000 /dev/zero >&2"
    ran = await run_command(script, b"q" * 5_000_000)
    assert ran.result == bytes(5_000_000)
    assert len(ran.stderr) == 5_000_000


@pytest.mark.parametrize("script", ["printf r", "exec <&-; sleep 0.1; printf r", "head -c 1 >/dev/null; printf r"])
async def test_a_handler_may_leave_its_query_unread(run_command: RunCommand, script: str) -> None:
    assert (await run_command(script, b"q" * 5_000_000)).result == b"r"


async def test_stdin_is_at_its_end_after_the_query(run_command: RunCommand) -> None:
    for query in (b"", b"abc", b"q" * 100_000):
        assert (await run_command("wc -c", query)).result == b"%d\n" % len(query)


@pytest.mark.parametrize("size", [MEMORY_LIMIT, MEMORY_LIMIT + 1, 20_000_000])
@pytest.mark.parametrize("folder", ["spool", "gone", None])
async def test_large_result(tmp_path: Path, size: int, folder: str | None) -> None:
    """A result of any size comes back, from memory (limited by `max_output`) if there is no temporary folder."""
    (tmp_path / "spool").mkdir()
    context = context_of(tmp_path / folder if folder else None)
    function = function_of(tmp_path, f"head -c {size} /dev/zero", max_output=size)
    assert (await run(handler_of(function, context))).result == bytes(size)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_stdout_closed_early(run_command: RunCommand) -> None:
    """A result is valid although stdout was closed early."""
    assert (await run_command("printf r; exec >&-; sleep 0.1")).result == b"r"
    assert (await run_command("printf r; exec >&-; sleep 0.1; exit 3")).reason == "exit"


async def test_stderr_is_passed_on_whole(run_command: RunCommand) -> None:
    ran = await run_command("printf 'a\\n' >&2; printf r; printf '\\000\\377' >&2")
    assert (ran.result, ran.stderr) == (b"r", b"a\n\0\xff")


@pytest.mark.parametrize("status", [1, 3, 126, 255])
async def test_failure(run_command: RunCommand, status: int) -> None:
    """A failed command is reported with its exit status and stderr."""
    failure = (await run_command(f"printf lost; echo why >&2; exit {status}")).failed
    assert (failure.reason, failure.exit_code, failure.signal, failure.stderr) == ("exit", status, None, b"why\n")
    assert "'f'" in failure.message
    assert str(status) in failure.message


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (40, "SIG40")])
async def test_signal(run_command: RunCommand, number: int, name: str) -> None:
    """A command that a signal ends is reported with the signal's name."""
    failure = (await run_command(f"kill -{number} $$")).failed
    assert (failure.reason, failure.exit_code, failure.signal) == ("signal", None, name)
    assert ("memory" in failure.message) == (name == "SIGKILL")


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 300",
        "trap 'printf late; exit 0' TERM; sleep 300 & wait",
        "kill -STOP $$",
        "exec <&- >&- 2>&-; exec sleep 300",
        "trap '' TERM; while :; do sleep 300; done",
        "trap '' TERM; kill -STOP $$; while :; do sleep 300; done",
        "exec yes noise >&2",
    ],
)
@pytest.mark.parametrize("query", [b"null", b"q" * 1_000_000], ids=["small", "large"])
async def test_timeout(tmp_path: Path, script: str, query: bytes) -> None:
    """A command that does not finish in time is ended."""
    context = context_of(graces=Graces(terminate=0.3))
    failure = (await run(handler_of(function_of(tmp_path, script, timeout=0.3), context), query)).failed
    assert failure.reason == "timeout"
    assert "0.3 s" in failure.message
    assert (failure.exit_code, failure.signal) == (None, None)
    assert not context.trees


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec sleep 300", "it had written nothing"),
        ("printf '{}'; exec sleep 300", "it had written a complete result, and did not exit"),
        ("printf '{\"a'; exec sleep 300", "it had written 3 bytes, and did not exit"),
    ],
)
async def test_a_timeout_says_what_was_there(run_command: RunCommand, script: str, words: str) -> None:
    failure = (await run_command(script, timeout=0.5)).failed
    assert words in failure.message
    assert failure.output == {"n": b"", "a": b"{}", "3": b'{"a'}[words.removeprefix("it had written ")[0]]


async def test_no_timeout_is_none(run_command: RunCommand) -> None:
    assert (await run_command("sleep 0.2; printf r", timeout=0)).result == b"r"


@pytest.mark.parametrize("script", ["head -c {} /dev/zero", "head -c {} /dev/zero; trap '' TERM PIPE; sleep 0.2"])
async def test_the_output_limit_is_exact(run_command: RunCommand, script: str) -> None:
    assert (await run_command(script.format(100_000), max_output=100_000)).result == bytes(100_000)
    over = (await run_command(script.format(100_001), max_output=100_000)).failed
    assert over.reason == "output_limit"
    assert "100000 bytes" in over.message


async def test_a_flood_is_ended_however_stubborn_it_is(run_command: RunCommand) -> None:
    flood = "trap '' TERM PIPE; while :; do head -c 65536 /dev/zero 2>/dev/null; done"
    assert (await run_command(flood, max_output=1_000_000)).reason == "output_limit"


async def test_json_and_text_are_checked(run_command: RunCommand) -> None:
    assert (await run_command("printf '[1.10 ]'", output="json")).result == b"[1.10 ]"
    assert (await run_command("printf '[1.10'", output="json")).reason == "invalid_output"
    assert (await run_command("printf 'a \"b\" \\303\\251'", output="text")).result == '"a \\"b\\" é"'.encode()
    assert (await run_command("printf '\\377'", output="text")).reason == "invalid_output"


async def not_started(run_command: RunCommand, command: tuple[str, ...], **options: object) -> tuple[int | None, str]:
    failure = (await run_command(command, **options)).failed
    assert (failure.reason, failure.stderr, failure.signal) == ("not_started", b"", None)
    return failure.exit_code, failure.message


def program(tmp_path: Path, content: bytes, mode: int = 0o755) -> tuple[str]:
    path = tmp_path / "program"
    path.write_bytes(content)
    path.chmod(mode)
    return (str(path),)


async def test_failed_start(run_command: RunCommand, tmp_path: Path) -> None:
    """A command that cannot be started is reported with the shell's exit code."""
    assert await not_started(run_command, ("no-such-program",)) == (
        127,
        "'no-such-program' cannot be started: command not found",
    )
    assert (await not_started(run_command, ("./no-such-program",)))[0] == 127
    assert (await not_started(run_command, (f"{sys.executable}/x",)))[0] == 127
    code, message = await not_started(run_command, program(tmp_path, b"#!/no/such/interpreter\n"))
    assert (code, message.rpartition(": ")[2]) == (127, "its interpreter does not exist")
    code, message = await not_started(run_command, program(tmp_path, b"\x7fELF nonsense"))
    assert code == 126
    assert "not a program for this machine" in message
    assert (await not_started(run_command, program(tmp_path, b"#!/bin/sh\n", 0o644)))[0] == 126
    assert (await not_started(run_command, (str(tmp_path),)))[0] == 126


async def test_a_missing_working_directory_is_reported(run_command: RunCommand) -> None:
    code, message = await not_started(run_command, ("true",), cwd="no such folder")
    assert code == 126
    assert "the working directory" in message
    assert "no such folder" in message


async def test_a_command_runs_in_its_folder(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    program(tmp_path / "sub", b"#!/bin/sh\npwd -P\n")
    ran = await run_command(("./program",), cwd="sub")
    assert ran.result == os.fsencode((tmp_path / "sub").resolve()) + b"\n"


async def test_session(run_command: RunCommand) -> None:
    """A command leads its own session."""
    script = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())"
    assert (await run_command((*PYTHON, script))).result == b"True\n"


async def test_inherited_descriptors(run_command: RunCommand) -> None:
    """A command inherits three descriptors and no more."""
    script = (
        "for f in /proc/self/fd/*; do if [ -e $f ]; then echo ${f##*/}; fi; done"  # the shell's own look is not there
    )
    assert (await run_command(script)).result == b"0\n1\n2\n"


async def test_a_command_has_the_usual_signals(run_command: RunCommand) -> None:
    status = (await run_command(("cat", "/proc/self/status"))).result
    assert status is not None
    ignored, blocked = (int(_field(status, name), 16) for name in (b"SigIgn", b"SigBlk"))
    assert not ignored >> (signal.SIGPIPE - 1) & 1
    assert blocked == 0


def _field(status: bytes, name: bytes) -> bytes:
    return next(line.split()[1] for line in status.splitlines() if line.startswith(name + b":"))


async def test_environment(tmp_path: Path) -> None:
    """A command's environment describes its job and not the runtime."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "x",
        "CM_JOB_ID": "an outer job's",
        "MODULE_AUTH_TOKEN": "t",
        "GET_JOB_URI": "u",
    }
    job = Job(
        job_id="job-7",
        query_type="f",
        query=b"",
        user_id="u-1",
        auth_header="Bearer a",
        temporary_credentials_auth_token="t",
    )
    context = context_of(None, environment)
    plain, trusted = [
        (
            await run(handler_of(function_of(tmp_path, ("env", "-0"), credentials=c, env={"A": "b"}), context), job=job)
        ).result
        for c in (False, True)
    ]
    own = {b"CM_JOB_ID=job-7", b"CM_QUERY_TYPE=f", b"CM_USER_ID=u-1", b"A=b", b"LANG=x"}
    path = b"PATH=" + os.fsencode(os.environ["PATH"])
    secrets = {b"CM_AUTH_HEADER=Bearer a", b"CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN=t"}
    assert plain is not None
    assert trusted is not None
    assert set(plain.split(b"\0")) - {b""} == own | {path}
    assert set(trusted.split(b"\0")) - {b""} == own | {path} | secrets


async def test_token_in_stderr(tmp_path: Path, context: HandlerContext) -> None:
    """Enough of stderr is kept to redact a token that lies across the cut."""
    job = Job(job_id="j", query_type="f", query=b"", auth_header="Bearer " + "s" * 1000)
    for padding in (0, 3000, 4090, 5000):
        script = f"printf %s \"$CM_AUTH_HEADER\" >&2; head -c {padding} /dev/zero | tr '\\0' x >&2; exit 1"
        handler = handler_of(function_of(tmp_path, script, credentials=True), context)
        failure = (await run(handler, job=job)).failed
        assert b"sss" not in job.redact(failure.stderr)[-4096:]


async def in_progress(handler_job: Coroutine[None, None, JobRun], ready: Path) -> "asyncio.Task[JobRun]":
    """Start a job and wait until its command has created `ready`."""
    running = asyncio.create_task(handler_job)
    await eventually(ready.exists, what="the start of the command")
    return running


async def test_shutdown(tmp_path: Path, context: HandlerContext) -> None:
    """The launcher ends running jobs when it shuts down."""
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"touch {ready}; trap '' TERM; while :; do sleep 300; done"), context)
    running = await in_progress(run(handler), ready)
    context.abort_all()
    assert context.stopping
    assert (await running).reason == "shutdown"


async def test_one_job_can_be_ended(tmp_path: Path, context: HandlerContext) -> None:
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"touch {ready}; exec sleep 300"), context)
    running = await in_progress(run(handler, job=job_of(job_id="a")), ready)
    context.abort("another", Reason.SHUTDOWN)
    context.abort("a", Reason.SHUTDOWN, "a detail")
    assert (await running).failed.message.endswith("because a detail")


async def test_killing_all_ends_every_job(tmp_path: Path, context: HandlerContext) -> None:
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"trap '' TERM; touch {ready}; sleep 300"), context)
    running = await in_progress(run(handler), ready)
    context.kill_all()
    assert (await running).reason == "shutdown"


async def test_timeout_of_a_busy_launcher(tmp_path: Path, context: HandlerContext) -> None:
    """A command that finished in time has not timed out, even if the launcher had no CPU time until the deadline."""

    class StandStill(CollectedStderr):
        def write(self, chunk: bytes) -> None:
            stat = Path(f"/proc/{int(chunk)}/stat")
            wait_until(lambda: not stat.exists() or b") Z" in stat.read_bytes(), what="the end of the command")
            time.sleep(max(0.0, deadline - time.monotonic()))

    handler = handler_of(function_of(tmp_path, "echo $$ >&2; printf r", timeout=2), context)
    deadline = time.monotonic() + 2.1
    spool = handler.new_spool()
    assert (await handler.run(job_of(), spool, StandStill())).failure is None
    assert spool.getvalue() == b"r"


async def test_process_that_survives_sigkill(tmp_path: Path) -> None:
    """A job is answered although the kernel does not end its process, as when it waits for a dead network disk."""
    context = context_of(graces=Graces(terminate=0.1, kill=0.0001))
    ready = tmp_path / "ready"
    script = f"trap '' TERM; echo $$ > {ready}; kill -STOP $$; while :; do sleep 300; done"
    outcomes: list[Failure] = []
    for _ in range(3):
        handler = handler_of(function_of(tmp_path, script, timeout=0.3), context)
        outcomes.append((await run(handler)).failed)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(int(ready.read_text()), signal.SIGKILL)
            os.waitpid(int(ready.read_text()), 0)
    assert {failure.reason for failure in outcomes} == {"timeout"}


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
@pytest.mark.parametrize(
    "script",
    [
        "exec > >(tee log); echo 42",
        "exec > >(grep -v ^DEBUG); echo DEBUG x; seq 1 20000",
        "exec > >(sleep 0.3; cat); echo 42; exec >&-",
        "exec 2> >(sed 's/^/E: /' >&2); echo last words >&2; exit 3",
    ],
)
async def test_output_of_another_process(
    tmp_path: Path, context: HandlerContext, mode: str, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Output that passes through another process belongs to the result."""
    handler = handler_of(function_of(tmp_path, ("bash", "-c", script), mode=mode), context)
    await handler.open()
    for _ in range(4):
        ran = await run(handler)
        if "exit 3" in script:
            assert ran.failed.stderr == b"E: last words\n"
        else:
            expected = b"".join(b"%d\n" % n for n in range(1, 20001)) if "seq" in script else b"42\n"
            assert ran.result == expected
    await handler.close()
    assert "held its output open" not in caplog.text


async def test_silent_pipe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A silent pipe delays the result by the grace period at most, and is logged."""
    context = context_of(graces=Graces(quiet=0.2, held_pipe=60))
    handler = handler_of(function_of(tmp_path, "sleep 3 & echo 42"), context)
    started = time.monotonic()
    assert (await run(handler)).result == b"42\n"
    assert 0.2 <= time.monotonic() - started < 15
    assert "held its output open" in caplog.text


async def test_a_writer_that_never_stops_meets_a_bound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = context_of(graces=Graces(quiet=60, held_pipe=0.5))
    script = "(trap '' PIPE TERM; for n in $(seq 1 300); do echo noise; sleep 0.01; done) & sleep 0.1; echo 42"
    result = (await run(handler_of(function_of(tmp_path, script), context))).result
    assert result is not None
    assert b"42\n" in result
    assert "held its output open" in caplog.text


async def test_no_descriptor_is_left_behind(run_command: RunCommand) -> None:
    async def jobs() -> None:
        assert (await run_command("cat", b"q" * 100_000)).result
        assert (await run_command("head -c 2000000 /dev/zero")).result
        assert (await run_command("exit 1")).reason == "exit"
        assert (await run_command(("no-such-program",))).reason == "not_started"
        assert (await run_command("cat /dev/zero", max_output=100_000)).reason == "output_limit"

    await jobs()
    before = open_descriptors(os.getpid())
    for _ in range(40):
        await jobs()
    assert open_descriptors(os.getpid()) == before
