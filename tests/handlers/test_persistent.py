"""Mode persistent: one job after another in a process, and no answer that is not the job's own."""

import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from cm_exec.handlers.exit_watch import announce_exits
from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.protocol.job import Job
from tests.support.handling import run
from tests.support.pooled import LOOP, Background, ask, ask_raw, loops, opened, wait_for_another_than, wait_for_end
from tests.support.processes import open_descriptors, wait_until

MIB = 1 << 20


def test_processes_are_started_before_the_first_job(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=3) as handler:
        started = loops()
        assert len(started) == 3
        assert ask(handler, "pid") in started


def test_a_process_serves_one_job_after_another(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        assert {ask(handler, "pid") for _ in range(20)} == loops()


def test_the_last_used_process_is_taken_first(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=3) as handler:
        first = ask(handler, "pid")
        assert {ask(handler, "pid") for _ in range(10)} == {first}


def test_jobs_at_once_have_a_process_each(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=4) as handler:
        ready, go = [tmp_path / f"ready-{n}" for n in range(4)], str(tmp_path / "go")
        jobs = [Background(partial(ask, handler, "wait_and_reply", str(path), go)) for path in ready]
        wait_until(lambda: all(path.exists() for path in ready), what="all four at work")
        Path(go).touch()
        assert len({job.outcome() for job in jobs}) == 4
        assert len(loops()) == 4


def test_there_are_no_more_processes_than_asked_for(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=4, processes=2):
        assert len(loops()) == 2
    with opened(tmp_path, shared, slots=4, max_concurrency=1):
        assert len(loops()) == 1


@pytest.mark.parametrize("framing", ["lines", "content-length"])
@pytest.mark.parametrize("value", [None, 0, "", "ü\t\u2028", {"a": [1.5, {}]}, "x" * 70_000], ids=str)
def test_a_value_goes_in_and_comes_back(tmp_path: Path, shared: Surroundings, framing: str, value: object) -> None:
    with opened(tmp_path, shared, *frames(framing), protocol=framing) as handler:
        assert [ask(handler, "echo", value) for _ in range(3)] == [value] * 3


def frames(framing: str) -> list[str]:
    return ["frames"] if framing == "content-length" else []


def test_a_query_with_line_breaks_is_one_line(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        for query in (b'[\n"echo",\r\n"a\\nb"\n]\n', b'\r\n\r\n["echo", "a\\nb"]', b'[ "echo"\n\n, "a\\nb"]'):
            assert run(handler, query).result == b'"a\\nb"'
        assert len(loops()) == 1


def test_frames_carry_any_bytes_both_ways(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, "frames", protocol="content-length") as handler:
        raw = "Content-Length: 6\r\n\r\n\n\0\r\n\xff\n"
        assert run(handler, json.dumps(["raw", raw]).encode()).result == b"\n\0\r\n\xff\n"
        assert run(handler, b'\n[ "echo",\n1]\n').result == b"1"


@pytest.mark.parametrize("framing", ["lines", "content-length"])
def test_32_mb_go_both_ways(tmp_path: Path, shared: Surroundings, framing: str) -> None:
    with opened(tmp_path, shared, *frames(framing), protocol=framing) as handler:
        large = "0123456789abcdef" * 2_000_000
        for _ in range(2):
            ran = ask_raw(handler, "echo", large)
            assert ran.result == json.dumps(large).encode()
        assert ask(handler, "echo", 1) == 1
        assert len(loops()) == 1


def assert_replaced(handler: Handler, pid: int) -> None:
    """The process that served `pid` is gone, and another one serves."""
    assert ask(handler, "pid") != pid
    wait_for_end(pid)


@pytest.mark.parametrize("framing", ["lines", "content-length"])
def test_a_second_result_in_the_same_write_fails_its_job_and_no_other(
    tmp_path: Path, shared: Surroundings, framing: str
) -> None:
    with opened(tmp_path, shared, *frames(framing), protocol=framing) as handler:
        pid = ask(handler, "pid")
        ran = ask_raw(handler, "twice")
        assert ran.reason == "out_of_step"
        assert ran.failure is not None
        assert "more than one" in ran.failure.message
        assert_replaced(handler, pid)


def test_two_results_and_the_end_at_once(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        assert ask_raw(handler, "twice_and_out").reason == "out_of_step"
        assert ask(handler, "echo", 1) == 1


def test_a_result_while_idle_never_reaches_the_next_job(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, shared) as handler:
        pid = ask(handler, "pid")
        assert ask(handler, "late", str(tmp_path / "go"), "stray") == "first"
        (tmp_path / "go").touch()
        wait_until(lambda: pid not in loops(), what="the end of the process that spoke unasked")
        wait_until(loops, what="its replacement")
        assert ask(handler, "echo", 1) == 1
    assert "nobody asked for" in caplog.text


def test_a_result_that_nobody_asked_for_at_the_start_never_reaches_a_job(tmp_path: Path, shared: Surroundings) -> None:
    """A banner in a process that waits; all are like that, so that jobs fail, but never with a banner as result."""
    with opened(tmp_path, shared, "say", "ready\n", timeout=20) as handler:
        for _ in range(3):
            ran = ask_raw(handler, "echo", 1)
            assert ran.result is None
            assert ran.reason == "out_of_step"


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.002])
def test_a_second_result_shortly_after_never_reaches_the_next_job(
    tmp_path: Path, shared: Surroundings, seconds: float
) -> None:
    with opened(tmp_path, shared) as handler:
        for number in range(12):
            ran = ask_raw(handler, "after", seconds)
            assert ran.result == b'"first"' or ran.reason == "out_of_step"
            ran = ask_raw(handler, "slow", 0.003, number)
            assert ran.result == b"%d" % number or ran.reason == "out_of_step"


def test_a_part_of_a_result_behind_a_result_never_gets_into_the_next(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        for number in range(12):
            ask_raw(handler, "after_in_part", 0.0015, '["')
            ran = ask_raw(handler, "slow", 0.003, number)
            assert ran.result == b"%d" % number or ran.reason == "out_of_step"


def test_cat_is_a_handler_too(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command=("cat",)) as handler:
        for size in (1, 4096, 4097, 100_000, 3_000_000):
            for _ in range(3):
                assert run(handler, b"q" * size).result == b"q" * size
    with opened(tmp_path, shared, command=("cat",), protocol="content-length") as handler:
        for size in (0, 1, 5000, 300_000):
            assert run(handler, b"q" * size).result == b"q" * size


@pytest.mark.parametrize(("text", "status"), [("4", 0), ("4", 3), ("[1,", 0), (" ", 1)])
def test_a_partial_line_at_the_end_is_out_of_step(tmp_path: Path, shared: Surroundings, text: str, status: int) -> None:
    with opened(tmp_path, shared) as handler:
        assert ask_raw(handler, "raw_and_out", text, status).reason == "out_of_step"
        assert ask(handler, "echo", 1) == 1


@pytest.mark.parametrize(
    "text", ["hello\n", '{"a": 1}\n', "Content-Length: x\r\n\r\n", "\r\n\r\n", "Content-Length: 1\r\n\r\n12"]
)
def test_a_wrong_frame_is_out_of_step_at_once(tmp_path: Path, shared: Surroundings, text: str) -> None:
    with opened(tmp_path, shared, "frames", protocol="content-length", timeout=60) as handler:
        pid = ask(handler, "pid")
        assert ask_raw(handler, "raw", text).reason == "out_of_step"
        assert_replaced(handler, pid)


def test_a_whole_result_counts_although_the_process_ends_after_it(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        for status in (0, 3) * 5:
            assert ask(handler, "last", status) == "last"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (("exit", 3), ("exit", 3, None)),
        (("exit", 0), ("exit", 0, None)),
        (("kill",), ("signal", None, "SIGKILL")),
    ],
)
def test_a_process_that_ends_without_a_result_fails_its_job_only(
    tmp_path: Path, shared: Surroundings, query: tuple[object, ...], expected: tuple[object, ...]
) -> None:
    with opened(tmp_path, shared) as handler:
        pid = ask(handler, "pid")
        failure = ask_raw(handler, *query).failure
        assert failure is not None
        assert (failure.reason, failure.exit_code, failure.signal) == expected
        assert_replaced(handler, pid)


def test_a_job_that_hangs_is_ended_with_its_process(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, timeout=1) as handler:
        pid = ask(handler, "pid")
        assert ask_raw(handler, "hang").reason == "timeout"
        assert_replaced(handler, pid)


def test_a_closed_result_channel_is_the_end_of_a_process(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, timeout=1) as handler:
        pid = ask(handler, "pid")
        assert ask_raw(handler, "close_result").failure is not None
        assert_replaced(handler, pid)


@pytest.mark.parametrize("framing", ["lines", "content-length"])
def test_the_output_limit_is_exact(tmp_path: Path, shared: Surroundings, framing: str) -> None:
    with opened(tmp_path, shared, *frames(framing), protocol=framing, max_output=100_000) as handler:
        pid = ask(handler, "pid")
        assert ask_raw(handler, "zeros", 100_000).result == b"0" * 100_000
        assert ask_raw(handler, "zeros", 100_001).reason == "output_limit"
        assert_replaced(handler, pid)


def test_output_is_checked_and_a_process_that_fails_the_check_is_replaced(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, output="json") as handler:
        pid = ask(handler, "pid")
        assert ask_raw(handler, "raw", "[1\n").reason == "invalid_output"
        assert_replaced(handler, pid)
    with opened(tmp_path, shared, output="text") as handler:
        assert ask_raw(handler, "raw", "a b\n").result == b'"a b"'


def test_max_jobs_recycles_a_process(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, max_jobs=3) as handler:
        pids = [ask(handler, "pid") for _ in range(9)]
    assert [len(set(pids[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


def test_idle_timeout_ends_a_process_and_a_job_starts_another(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=2, idle_timeout=0.3) as handler:
        pid = ask(handler, "pid")
        wait_until(lambda: not loops(), what="the end of all that waited")
        assert ask(handler, "pid") != pid


def test_a_process_that_dies_when_idle_is_replaced(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    for options in ({}, {"idle_timeout": 300}):
        with opened(tmp_path, shared, **options) as handler:
            pid = ask(handler, "pid")
            os.kill(pid, signal.SIGKILL)
            wait_for_another_than(pid)
            assert ask(handler, "echo", 1) == 1
        assert "ended while it waited, with status -9" in caplog.text
        caplog.clear()


def test_a_process_that_has_died_in_its_sleep_fails_no_job(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        for number in range(10):
            pid = ask(handler, "pid")
            os.kill(pid, signal.SIGKILL)
            wait_for_end(pid)
            assert ask(handler, "echo", number) == number


def test_a_command_that_always_dies_is_started_less_and_less_often_and_its_jobs_are_answered(
    tmp_path: Path, shared: Surroundings
) -> None:
    note = tmp_path / "note"
    note.touch()
    with opened(tmp_path, shared, "note", str(note), "die", "5", slots=2) as handler:
        wait_until(lambda: len(note.read_text().split()) >= 4, what="some starts")
        for _ in range(3):
            failure = ask_raw(handler, "echo", 1).failure
            assert failure is not None
            assert (failure.reason, failure.exit_code) == ("exit", 5)
    assert len(note.read_text().split()) < 30


def test_a_command_that_is_not_there_is_told_and_looked_for_again(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command=("./program",)) as handler:
        failure = ask_raw(handler, "echo", 1).failure
        assert failure is not None
        assert (failure.reason, failure.exit_code) == ("not_started", 127)
        # by another process: what the pool starts meanwhile would inherit a descriptor for writing ("text file busy")
        script = "printf '#!/bin/sh\\nexec cat\\n' >program && chmod +x program"
        subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, check=True)
        assert ask(handler, "echo", 1) == ["echo", 1]


def test_stderr_of_a_job_is_the_job_s_and_between_jobs_goes_to_the_log(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cm_exec.handler")
    with opened(tmp_path, shared) as handler:
        assert ask_raw(handler, "noisy", "of the job\n").stderr == b"of the job\n"
        ask(handler, "late_noise", str(tmp_path / "go"), "between\n")
        (tmp_path / "go").touch()
        wait_until(lambda: b"between\n" in [record.msg for record in caplog.records], what="the line in the log")
        (record,) = (record for record in caplog.records if record.msg == b"between\n")
        assert getattr(record, "tags", None) == {"function": "f"}
        assert ask_raw(handler, "echo", 1).stderr == b""


def test_tokens_that_a_process_tells_between_jobs_are_not_in_the_log(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cm_exec.handler")
    with opened(tmp_path, shared, envelope=True, credentials=True) as handler:
        query = json.dumps(["late_noise", str(tmp_path / "go"), "I know s3cret\n"]).encode()
        run(handler, job=Job(job_id="j", query_type="f", query=query, auth_header="s3cret"))
        (tmp_path / "go").touch()
        wait_until(lambda: any(b"I know" in r.msg for r in caplog.records if isinstance(r.msg, bytes)), what="the line")
    assert not any(b"s3cret" in record.msg for record in caplog.records if isinstance(record.msg, bytes))


def test_python_writes_at_once_unless_the_user_says_otherwise(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        assert ask(handler, "env", "PYTHONUNBUFFERED") == "1"
    with opened(tmp_path, shared, env={"PYTHONUNBUFFERED": ""}) as handler:
        assert ask(handler, "env", "PYTHONUNBUFFERED") == ""
    script = "import sys\nfor line in sys.stdin: print(len(line))"  # buffered, it would never answer
    with opened(tmp_path, shared, command=(LOOP[0], "-c", script), timeout=30) as handler:
        assert run(handler, b"12345").result == b"6"


def test_no_job_is_in_the_environment_of_a_process_that_serves_many(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        assert [ask(handler, "env", name) for name in ("CM_JOB_ID", "CM_QUERY_TYPE", "CM_USER_ID")] == [None] * 3


@pytest.mark.parametrize("framing", ["lines", "content-length"])
def test_an_envelope_tells_of_the_job(tmp_path: Path, shared: Surroundings, framing: str) -> None:
    job = Job(job_id="j", query_type="f", query=b'["whole"]', user_id="u", auth_header="Bearer a")
    with opened(tmp_path, shared, *frames(framing), protocol=framing, envelope=True) as handler:
        # what it gives back is itself an envelope without a result, and stays as it is
        assert json.loads(run(handler, job=job).result or b"") == {
            "jobId": "j",
            "queryType": "f",
            "userId": "u",
            "query": ["whole"],
        }
    with opened(tmp_path, shared, *frames(framing), protocol=framing, envelope=True, credentials=True) as handler:
        assert json.loads(run(handler, job=job).result or b"")["authHeader"] == "Bearer a"


def test_an_enveloped_result_is_unwrapped_if_it_names_its_job(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, envelope=True) as handler:
        assert ask(handler, "enveloped", {"x": [1]}) == {"x": [1]}
        assert ask(handler, "echo", {"x": [1]}) == {"x": [1]}
        pid = ask(handler, "pid")
        assert ask_raw(handler, "echo", {"jobId": "another", "result": 1}).reason == "out_of_step"
        assert_replaced(handler, pid)


def test_jobs_are_ended_when_the_launcher_stops_them(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared) as handler:
        job = Background(lambda: ask_raw(handler, "hang", str(tmp_path / "ready")))
        wait_until((tmp_path / "ready").exists, what="the job's begin")
        shared.stop.set()
        assert job.outcome().reason == "shutdown"


def test_the_same_without_pidfds(tmp_path: Path, shared: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> int:
        raise OSError

    before = signal.signal(signal.SIGCHLD, lambda *_: announce_exits())
    monkeypatch.setattr(os, "pidfd_open", none)
    try:
        with opened(tmp_path, shared, timeout=2) as handler:
            assert {ask(handler, "pid") for _ in range(5)} == loops()
            assert ask_raw(handler, "exit", 3).reason == "exit"
            assert ask_raw(handler, "twice").reason == "out_of_step"
            assert ask_raw(handler, "twice_and_out").reason == "out_of_step"
            assert ask_raw(handler, "hang").reason == "timeout"
            pid = ask(handler, "pid")
            os.kill(pid, signal.SIGKILL)
            wait_for_another_than(pid)
            assert ask(handler, "echo", 1) == 1
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_no_descriptor_is_left_behind(tmp_path: Path, shared: Surroundings) -> None:
    def jobs() -> None:
        with opened(tmp_path, shared, slots=2, max_output=100_000) as handler:
            ask(handler, "echo", "x" * 50_000)
            ask_raw(handler, "exit", 1)
            ask_raw(handler, "twice")
            ask_raw(handler, "zeros", 200_000)
        with opened(tmp_path, shared, command=("no-such-program",)) as handler:
            ask_raw(handler, "echo", 1)

    jobs()
    before = open_descriptors(os.getpid())
    for _ in range(5):
        jobs()
    assert open_descriptors(os.getpid()) == before


def test_descriptors_above_1023_are_as_good_as_any(tmp_path: Path, shared: Surroundings) -> None:
    taken = [os.dup(0) for _ in range(1100)]
    try:
        with opened(tmp_path, shared) as handler:
            assert [ask(handler, "echo", n) for n in range(5)] == list(range(5))
    finally:
        for fd in taken:
            os.close(fd)
