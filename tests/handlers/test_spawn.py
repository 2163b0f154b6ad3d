"""Mode spawn: bytes in, bytes out, and an exact answer for each way in which a command can end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cm_exec.handlers.handler import Result, Surroundings
from cm_exec.handlers.orphans import Family
from tests.support.handling import Ran, function_of, handler_of, run, surroundings

from cm_exec.handlers import exchange as exchange_module
from cm_exec.handlers.spool import MEMORY_LIMIT
from cm_exec.protocol.job import Job
from tests.support.processes import open_descriptors, wait_until

RunCommand = Callable[..., Ran]

PYTHON = (sys.executable, "-S", "-E", "-c")


@pytest.mark.parametrize(
    "query", [b"", b"null", b'{"a": 1.10}\n', bytes(range(256)) * 20, b"q" * 4096, b"q" * 4097, b"q" * 3_000_000]
)
def test_the_query_goes_in_and_the_output_comes_back_byte_for_byte(run_command: RunCommand, query: bytes) -> None:
    assert run_command(("cat",), query).result == query


def test_no_output_is_an_empty_result(run_command: RunCommand) -> None:
    assert run_command("true").result == b""


def test_a_string_is_for_the_shell_and_a_list_is_not(run_command: RunCommand) -> None:
    assert run_command("printf %s $((6 * 7))").result == b"42"
    assert run_command(("printf", "%s", "$((6 * 7))")).result == b"$((6 * 7))"


def test_large_traffic_in_both_directions_does_not_stand_still(run_command: RunCommand) -> None:
    script = "head -c 5000000 /dev/zero; cat >/dev/null; head -c 5000000 /dev/zero >&2"
    ran = run_command(script, b"q" * 5_000_000)
    assert ran.result == bytes(5_000_000)
    assert len(ran.stderr) == 5_000_000


@pytest.mark.parametrize("script", ["printf r", "exec <&-; sleep 0.1; printf r", "head -c 1 >/dev/null; printf r"])
def test_a_query_that_is_not_read_or_not_wholly_read_is_the_handler_s_affair(
    run_command: RunCommand, script: str
) -> None:
    assert run_command(script, b"q" * 5_000_000).result == b"r"


def test_stdin_is_at_its_end_after_the_query(run_command: RunCommand) -> None:
    for query in (b"", b"abc", b"q" * 100_000):
        assert run_command("wc -c", query).result == b"%d\n" % len(query)


@pytest.mark.parametrize("size", [MEMORY_LIMIT, MEMORY_LIMIT + 1, 20_000_000])
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_result_of_any_size_comes_back_from_disk_or_memory(tmp_path: Path, size: int, on_disk: bool) -> None:
    with surroundings(tmp_path if on_disk else None) as shared:
        handler = handler_of(function_of(tmp_path, f"head -c {size} /dev/zero"), shared)
        assert run(handler).result == bytes(size)
    assert list(tmp_path.iterdir()) == []


def test_a_result_counts_when_stdout_was_closed_early(run_command: RunCommand) -> None:
    assert run_command("printf r; exec >&-; sleep 0.1").result == b"r"
    assert run_command("printf r; exec >&-; sleep 0.1; exit 3").reason == "exit"


def test_stderr_is_passed_on_whole(run_command: RunCommand) -> None:
    ran = run_command("printf 'a\\n' >&2; printf r; printf '\\000\\377' >&2")
    assert (ran.result, ran.stderr) == (b"r", b"a\n\0\xff")


@pytest.mark.parametrize("status", [1, 3, 126, 255])
def test_a_command_that_fails_is_told_with_its_status_and_what_it_said(run_command: RunCommand, status: int) -> None:
    failure = run_command(f"printf lost; echo why >&2; exit {status}").failure
    assert failure is not None
    assert (failure.reason, failure.exit_code, failure.signal, failure.stderr) == ("exit", status, None, b"why\n")
    assert "'f'" in failure.message
    assert str(status) in failure.message


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (40, "SIG40")])
def test_a_command_that_a_signal_ends_is_told_with_its_name(run_command: RunCommand, number: int, name: str) -> None:
    failure = run_command(f"kill -{number} $$").failure
    assert failure is not None
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
def test_a_command_that_does_not_finish_in_time_is_ended(run_command: RunCommand, script: str, query: bytes) -> None:
    ran = run_command(script, query, timeout=0.3)
    assert ran.reason == "timeout"
    assert ran.failure is not None
    assert "0.3 s" in ran.failure.message
    assert (ran.failure.exit_code, ran.failure.signal) == (None, None)


def test_no_timeout_is_none(run_command: RunCommand) -> None:
    assert run_command("sleep 0.2; printf r", timeout=0).result == b"r"


@pytest.mark.parametrize("script", ["head -c {} /dev/zero", "head -c {} /dev/zero; trap '' TERM PIPE; sleep 0.2"])
def test_the_output_limit_is_exact(run_command: RunCommand, script: str) -> None:
    assert run_command(script.format(100_000), max_output=100_000).result == bytes(100_000)
    over = run_command(script.format(100_001), max_output=100_000).failure
    assert over is not None
    assert over.reason == "output_limit"
    assert "100000 bytes" in over.message


def test_a_flood_is_ended_however_stubborn_it_is(run_command: RunCommand) -> None:
    flood = "trap '' TERM PIPE; while :; do head -c 65536 /dev/zero 2>/dev/null; done"
    assert run_command(flood, max_output=1_000_000).reason == "output_limit"


def test_a_disk_that_is_full_is_an_output_limit(tmp_path: Path) -> None:
    with surroundings(tmp_path / "no such folder") as shared:
        small, large = (function_of(tmp_path, f"head -c {n} /dev/zero") for n in (MEMORY_LIMIT, MEMORY_LIMIT + 1))
        assert run(handler_of(small, shared)).result == bytes(MEMORY_LIMIT)
        failure = run(handler_of(large, shared)).failure
    assert failure is not None
    assert failure.reason == "output_limit"
    assert "temporary file" in failure.message
    assert "no such file" in failure.message.lower()


def test_json_and_text_are_checked(run_command: RunCommand) -> None:
    assert run_command("printf '[1.10 ]'", output="json").result == b"[1.10 ]"
    assert run_command("printf '[1.10'", output="json").reason == "invalid_output"
    assert run_command("printf 'a \"b\" \\303\\251'", output="text").result == '"a \\"b\\" é"'.encode()
    assert run_command("printf '\\377'", output="text").reason == "invalid_output"


def not_started(run_command: RunCommand, command: tuple[str, ...], **options: object) -> tuple[int | None, str]:
    failure = run_command(command, **options).failure
    assert failure is not None
    assert failure.reason == "not_started"
    assert (failure.stderr, failure.signal) == (b"", None)
    return failure.exit_code, failure.message


def program(tmp_path: Path, content: bytes, mode: int = 0o755) -> tuple[str]:
    path = tmp_path / "program"
    path.write_bytes(content)
    path.chmod(mode)
    return (str(path),)


def test_what_cannot_be_started_is_told_with_the_shell_s_numbers(run_command: RunCommand, tmp_path: Path) -> None:
    assert not_started(run_command, ("no-such-program",)) == (
        127,
        "'no-such-program' cannot be started: command not found",
    )
    assert not_started(run_command, ("./no-such-program",))[0] == 127
    assert not_started(run_command, (f"{sys.executable}/x",))[0] == 127
    code, message = not_started(run_command, program(tmp_path, b"#!/no/such/interpreter\n"))
    assert (code, message.rpartition(": ")[2]) == (127, "its interpreter does not exist")
    code, message = not_started(run_command, program(tmp_path, b"\x7fELF nonsense"))
    assert code == 126
    assert "not a program for this machine" in message
    assert not_started(run_command, program(tmp_path, b"#!/bin/sh\n", 0o644))[0] == 126
    assert not_started(run_command, (str(tmp_path),))[0] == 126


def test_a_folder_that_is_gone_is_told(run_command: RunCommand) -> None:
    code, message = not_started(run_command, ("true",), cwd="no such folder")
    assert code == 126
    assert "the folder" in message
    assert "no such folder" in message


def test_a_command_runs_in_its_folder(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    program(tmp_path / "sub", b"#!/bin/sh\npwd -P\n")
    assert run_command(("./program",), cwd="sub").result == os.fsencode((tmp_path / "sub").resolve()) + b"\n"


def test_a_command_leads_a_session_of_its_own(run_command: RunCommand) -> None:
    script = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())"
    assert run_command((*PYTHON, script)).result == b"True\n"


def test_a_command_inherits_three_descriptors_and_no_more(run_command: RunCommand) -> None:
    script = (
        "for f in /proc/self/fd/*; do if [ -e $f ]; then echo ${f##*/}; fi; done"  # the shell's own look is not there
    )
    assert run_command(script).result == b"0\n1\n2\n"


def test_a_command_has_the_usual_signals(run_command: RunCommand) -> None:
    status = run_command(("cat", "/proc/self/status")).result
    assert status is not None
    ignored, blocked = (int(_field(status, name), 16) for name in (b"SigIgn", b"SigBlk"))
    assert not ignored >> (signal.SIGPIPE - 1) & 1
    assert blocked == 0


def _field(status: bytes, name: bytes) -> bytes:
    return next(line.split()[1] for line in status.splitlines() if line.startswith(name + b":"))


def test_a_command_knows_its_job_and_not_the_runtime(tmp_path: Path) -> None:
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
    with surroundings(None, environment) as shared:
        plain, trusted = (
            run(handler_of(function_of(tmp_path, ("env", "-0"), credentials=c, env={"A": "b"}), shared), job=job).result
            for c in (False, True)
        )
    own = {b"CM_JOB_ID=job-7", b"CM_QUERY_TYPE=f", b"CM_USER_ID=u-1", b"A=b", b"LANG=x"}
    path = b"PATH=" + os.fsencode(os.environ["PATH"])
    secrets = {b"CM_AUTH_HEADER=Bearer a", b"CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN=t"}
    assert plain is not None
    assert trusted is not None
    assert set(plain.split(b"\0")) - {b""} == own | {path}
    assert set(trusted.split(b"\0")) - {b""} == own | {path} | secrets


def test_tokens_that_a_command_tells_are_in_no_error(
    run_command: RunCommand, tmp_path: Path, shared: Surroundings
) -> None:
    del run_command
    job = Job(job_id="j", query_type="f", query=b"", auth_header="Bearer " + "s" * 1000)
    for padding in (0, 3000, 4090, 5000):
        script = f"printf %s \"$CM_AUTH_HEADER\" >&2; head -c {padding} /dev/zero | tr '\\0' x >&2; exit 1"
        failure = run(handler_of(function_of(tmp_path, script, credentials=True), shared), job=job).failure
        assert failure is not None
        assert b"sss" not in failure.stderr


def test_jobs_are_ended_when_the_launcher_stops_them(tmp_path: Path, shared: Surroundings) -> None:
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"touch {ready}; trap '' TERM; while :; do sleep 300; done"), shared)
    rans: list[Ran] = []
    thread = threading.Thread(target=lambda: rans.append(run(handler)), daemon=True)
    thread.start()
    wait_until(ready.exists, what="the start of the command")
    shared.stop.set()
    thread.join(30)
    assert [ran.reason for ran in rans] == ["shutdown"]
    assert run(handler_of(function_of(tmp_path, "exec sleep 300"), shared)).reason == "shutdown"
    shared.stop.set()


def test_killing_all_ends_every_job(tmp_path: Path, shared: Surroundings) -> None:
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"trap '' TERM; touch {ready}; sleep 300"), shared)
    rans: list[Ran] = []
    thread = threading.Thread(target=lambda: rans.append(run(handler)), daemon=True)
    thread.start()
    wait_until(ready.exists, what="the start of the command")
    shared.kill_all()
    thread.join(30)
    assert len(rans) == 1
    assert rans[0].failure is not None


def test_a_command_that_finished_in_time_is_not_late_because_the_launcher_is(
    tmp_path: Path, shared: Surroundings
) -> None:
    def stand_still(stderr: bytes) -> None:
        """As where the container's share of the processor is used up: until command and deadline are both over."""
        stat = Path(f"/proc/{int(stderr)}/stat")
        wait_until(lambda: not stat.exists() or b") Z" in stat.read_bytes(), what="the end of the command")
        time.sleep(max(0.0, deadline - time.monotonic()))

    handler = handler_of(function_of(tmp_path, "echo $$ >&2; printf r", timeout=2), shared)
    deadline = time.monotonic() + 2.1
    with handler.run(Job(job_id="j", query_type="f", query=b""), stand_still) as outcome:
        assert isinstance(outcome, Result), outcome


def test_a_job_whose_process_the_kernel_does_not_let_go_of_is_answered(
    tmp_path: Path, shared: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it waits for a dead network disk: no signal is of any use."""
    monkeypatch.setattr(exchange_module, "GRACE", 0.1)
    monkeypatch.setattr(exchange_module, "GIVE_UP", 0.1)
    sent: list[int] = []
    monkeypatch.setattr(Family, "signal_group", lambda _, number: sent.append(number))
    ready = tmp_path / "ready"
    handler = handler_of(function_of(tmp_path, f"echo $$ > {ready}; exec sleep 300", timeout=0.3), shared)
    assert run(handler).reason == "timeout"
    assert sent[:3] == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]
    pid = int(ready.read_text())
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_no_descriptor_is_left_behind(run_command: RunCommand) -> None:
    def jobs() -> None:
        assert run_command("cat", b"q" * 100_000).result
        assert run_command("head -c 2000000 /dev/zero").result
        assert run_command("exit 1").reason == "exit"
        assert run_command(("no-such-program",)).reason == "not_started"
        assert run_command("cat /dev/zero", max_output=100_000).reason == "output_limit"

    jobs()
    before = open_descriptors(os.getpid())
    for _ in range(40):
        jobs()
    assert open_descriptors(os.getpid()) == before
