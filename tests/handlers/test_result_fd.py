"""result_fd = 3: the result is what is written to descriptor 3, whatever is printed."""

import json
from functools import partial
from pathlib import Path

import pytest

from cm_exec.handlers.handler import Result, Stream, Surroundings
from cm_exec.protocol.job import Job
from tests.support.handling import run
from tests.support.pooled import Background, ask_raw, opened

pytestmark = pytest.mark.descriptor_3

MODES = ("spawn", "prespawn", "persistent")

PRINTING = "echo printed; read -r x; printf 'result of %s\\n' \"$x\" >&3; echo more >&2"


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_stdout_is_a_log_and_descriptor_3_the_result(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    with opened(tmp_path, shared, command=PRINTING, mode=mode, result_fd=3) as handler:
        ran = run(handler, b"1\n")
        assert ran.result == b"result of 1\n"
        assert mode == "prespawn" or ran.stderr == b"printed\nmore\n"
        assert ran.stderr.endswith(b"more\n")


def test_a_persistent_process_may_print_at_any_time(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, "fd3", result_fd=3) as handler:
        for number in range(5):
            ran = ask_raw(handler, "printing", f"some noise {number}\n")
            assert ran.result == b'"printed"'
            assert ran.stderr == f"some noise {number}\n".encode()


def test_frames_come_by_descriptor_3_as_well(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, "fd3", "frames", result_fd=3, protocol="content-length") as handler:
        assert ask_raw(handler, "printing", "Content-Length: 1\r\n\r\n1").result == b'"printed"'


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_tells_what_was_printed(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    command = "read -r x; echo printed; exit 3"
    with opened(tmp_path, shared, command=command, mode=mode, result_fd=3) as handler:
        failure = run(handler, b"1\n").failure
    assert failure is not None
    assert (failure.reason, failure.exit_code, failure.stderr) == ("exit", 3, b"printed\n")


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_nothing_on_descriptor_3_is_an_empty_result(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    with opened(tmp_path, shared, command="echo printed", mode=mode, result_fd=3) as handler:
        assert run(handler).result == b""


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_a_stream_comes_by_descriptor_3(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    with opened(
        tmp_path, shared, command="echo log; echo 1 >&3; echo log; echo 2 >&3", mode=mode, result_fd=3, stream=True
    ) as handler:
        job = Job(job_id="j", query_type="f", query=b"1")
        with handler.run(job, lambda _: None) as outcome:
            assert isinstance(outcome, Stream)
            assert b"".join(outcome.spool.live_chunks()) == b"1\n2\n"
            assert isinstance(outcome.ended(), Result)


def test_the_limit_is_on_the_result_and_not_on_what_is_printed(tmp_path: Path, shared: Surroundings) -> None:
    command = "head -c 1000000 /dev/zero; head -c $(cat) /dev/zero >&3"
    with opened(tmp_path, shared, command=command, mode="spawn", result_fd=3, max_output=100_000) as handler:
        assert run(handler, b"100000").result == bytes(100_000)
        assert run(handler, b"100001").reason == "output_limit"


def test_only_the_descriptors_0_to_3_are_inherited_also_where_jobs_start_at_once(
    tmp_path: Path, shared: Surroundings
) -> None:
    command = "exec 1>&3; for f in /proc/self/fd/*; do if [ -e $f ]; then echo ${f##*/}; fi; done"
    with opened(tmp_path, shared, command=command, mode="spawn", result_fd=3, slots=4) as handler:
        jobs = [Background(lambda: [run(handler).result for _ in range(10)]) for _ in range(4)]
        assert [set(job.outcome()) for job in jobs] == [{b"0\n1\n2\n3\n"}] * 4


def test_without_it_descriptor_3_is_closed(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command="(echo x >&3) 2>/dev/null || printf closed", mode="spawn") as handler:
        assert run(handler).result == b"closed"


def test_the_same_processes_answer_many_jobs_at_once(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, "fd3", slots=3, result_fd=3) as handler:

        def jobs(start: int) -> list[int]:
            return [json.loads(ask_raw(handler, "echo", start + n).result or b"") for n in range(20)]

        running = [Background(partial(jobs, start)) for start in (0, 100, 200)]
        assert [job.outcome() for job in running] == [[s + n for n in range(20)] for s in (0, 100, 200)]
