"""Mode prespawn: as spawn, with the start of the process off the job's path."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.modes import create_handlers
from tests.support.handling import function_of, run
from tests.support.pooled import LOOP, ask, ask_raw, loops, opened, wait_for_another_than, wait_for_end

from cm_exec.protocol.job import Job
from tests.support.processes import open_descriptors, wait_until

MODE: dict[str, Any] = {"mode": "prespawn"}


def test_the_first_job_finds_a_process_and_each_job_has_its_own(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, slots=2, **MODE) as handler:
        waiting = loops()
        assert len(waiting) == 2
        pid = ask(handler, "pid")
        assert pid in waiting
        assert ask(handler, "pid") != pid


def test_the_next_process_is_started_while_the_result_is_posted(tmp_path: Path, shared: Surroundings) -> None:
    function = function_of(tmp_path, "echo x >> starts; cat", **MODE)
    handler = create_handlers([function], shared, 1)["f"]
    handler.open()
    starts = tmp_path / "starts"
    try:
        wait_until(lambda: starts.exists() and len(starts.read_text()) == 2, what="the first start")
        with handler.run(Job(job_id="j", query_type="f", query=b"1"), lambda _: None):
            wait_until(lambda: len(starts.read_text()) == 4, what="the second start")
    finally:
        handler.close()


@pytest.mark.parametrize("query", [b"", b"null", b"q" * 4097, b"q" * 3_000_000], ids=len)
def test_the_query_goes_in_and_the_output_comes_back_byte_for_byte(
    tmp_path: Path, shared: Surroundings, query: bytes
) -> None:
    with opened(tmp_path, shared, command="cat", **MODE) as handler:
        assert [run(handler, query).result for _ in range(3)] == [query] * 3


def test_what_is_written_before_the_query_is_read_belongs_to_the_result(tmp_path: Path, shared: Surroundings) -> None:
    command = "printf header; printf noise >&2; touch written; cat; printf footer"
    with opened(tmp_path, shared, command=command, **MODE) as handler:
        wait_until((tmp_path / "written").exists, what="the header")
        assert run(handler, b"-").result == b"header-footer"


def test_the_ways_to_end_are_those_of_spawn(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command="read -r x; eval $x", timeout=1, max_output=1000, **MODE) as handler:
        for query, reason in (
            (b"exit 3", "exit"),
            (b"kill -9 $$", "signal"),
            (b"exec sleep 300", "timeout"),
            (b"yes", "output_limit"),
        ):
            assert run(handler, query + b"\n").reason == reason
        assert run(handler, b"printf r\n").result == b"r"


@pytest.mark.parametrize("options", [{}, {"idle_timeout": 300}], ids=str)
def test_a_process_that_dies_while_it_waits_is_replaced_and_fails_no_job(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    with opened(tmp_path, shared, **MODE, **options) as handler:
        (pid,) = loops()
        os.kill(pid, signal.SIGKILL)
        wait_for_another_than(pid)
        assert ask(handler, "echo", 1) == 1
    assert "ended while it waited, with status -9" in caplog.text


def test_a_process_that_has_just_died_fails_no_job(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, **MODE) as handler:
        wait_until(loops, what="a process")
        (pid,) = loops()
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
        assert ask(handler, "echo", 1) == 1


def test_a_command_that_always_dies_is_started_less_and_less_often_and_its_jobs_are_answered(
    tmp_path: Path, shared: Surroundings
) -> None:
    note = tmp_path / "note"
    note.touch()
    with opened(tmp_path, shared, "note", str(note), "die", "5", slots=2, **MODE) as handler:
        wait_until(lambda: len(note.read_text().split()) >= 4, what="some starts")
        for _ in range(3):
            failure = ask_raw(handler, "echo", 1).failure
            assert failure is not None
            assert (failure.reason, failure.exit_code) == ("exit", 5)
    assert len(note.read_text().split()) < 40


def test_a_command_that_is_not_there_is_told(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command=("./no-such-program",), **MODE) as handler:
        assert run(handler).reason == "not_started"


def test_one_that_has_waited_too_long_is_replaced_in_silence(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, shared, idle_timeout=0.3, **MODE) as handler:
        wait_until(loops, what="a process")
        pid = min(loops())
        wait_for_end(pid)
        wait_for_another_than(pid)
        assert ask(handler, "echo", 1) == 1
    assert not [record for record in caplog.records if record.levelno >= 30]


def test_stderr_of_one_that_waits_goes_to_the_log(
    tmp_path: Path, shared: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cm_exec.handler")
    with opened(tmp_path, shared, command="echo loading >&2; cat", **MODE):
        wait_until(lambda: b"loading\n" in [record.msg for record in caplog.records], what="the line in the log")


def test_a_flood_on_stderr_does_not_stop_one_that_waits(tmp_path: Path, shared: Surroundings) -> None:
    command = "head -c 1000000 /dev/zero >&2; touch loaded; cat"
    with opened(tmp_path, shared, command=command, **MODE) as handler:
        wait_until((tmp_path / "loaded").exists, what="the end of the flood")
        assert run(handler, b"1").result == b"1"


def test_no_job_is_told_in_the_environment(tmp_path: Path, shared: Surroundings) -> None:
    script = "import os, sys, json; sys.stdin.read(); print(json.dumps(sorted(n for n in os.environ if 'CM_' in n)))"
    with opened(tmp_path, shared, command=(LOOP[0], "-c", script), **MODE) as handler:
        assert "CM_JOB_ID" not in json.loads(run(handler).result or b"")


def test_no_descriptor_is_left_behind(tmp_path: Path, shared: Surroundings) -> None:
    def jobs() -> None:
        with opened(tmp_path, shared, slots=2, max_output=100_000, **MODE) as handler:
            ask(handler, "echo", "x" * 50_000)
            ask_raw(handler, "exit", 1)
            ask_raw(handler, "zeros", 200_000)

    jobs()
    before = open_descriptors(os.getpid())
    for _ in range(5):
        jobs()
    assert open_descriptors(os.getpid()) == before
