"""stream = true: the result can be read while it is produced, and again from its start."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cm_exec.handlers.handler import Handler, Outcome, Result, Stream, Surroundings
from tests.support.handling import surroundings
from tests.support.pooled import Background, opened

from cm_exec.handlers.spool import MEMORY_LIMIT, CutOffError
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job
from tests.support.processes import wait_until

MODES = ("spawn", "prespawn")


@contextmanager
def outcome_of(handler: Handler, query: bytes = b"null") -> Iterator[Outcome]:
    with handler.run(Job(job_id="j", query_type="f", query=query), lambda _: None) as outcome:
        yield outcome


@pytest.mark.parametrize("mode", MODES)
def test_a_part_is_there_before_the_end(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    command = "printf begin; while [ ! -e go ]; do sleep 0.01; done; printf end"
    with (
        opened(tmp_path, shared, command=command, mode=mode, stream=True) as handler,
        outcome_of(handler) as outcome,
    ):
        assert isinstance(outcome, Stream)
        chunks = outcome.spool.live_chunks()
        assert next(chunks) == b"begin"
        (tmp_path / "go").touch()
        assert b"".join(chunks) == b"end"
        ended = outcome.ended()
        assert isinstance(ended, Result)
        assert ended.spool.getvalue() == b"".join(ended.spool.chunks()) == b"beginend"


@pytest.mark.parametrize("mode", MODES)
def test_no_output_is_an_empty_result_and_no_stream(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    with (
        opened(tmp_path, shared, command="true", mode=mode, stream=True) as handler,
        outcome_of(handler) as outcome,
    ):
        assert isinstance(outcome, Result)
        assert outcome.spool.size == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_before_the_first_byte_is_no_stream(tmp_path: Path, shared: Surroundings, mode: str) -> None:
    for command, reason in (("exit 3", "exit"), ("exec no-such-program", "exit"), ("exec sleep 300", "timeout")):
        with (
            opened(tmp_path, shared, command=command, mode=mode, stream=True, timeout=1) as handler,
            outcome_of(handler) as outcome,
        ):
            assert isinstance(outcome, Failure)
            assert outcome.reason == reason


@pytest.mark.parametrize(
    ("end", "reason"),
    [("exit 3", "exit"), ("kill -9 $$", "signal"), ("exec sleep 300", "timeout"), ("exec yes", "output_limit")],
)
def test_a_failure_midway_cuts_the_stream_off(tmp_path: Path, shared: Surroundings, end: str, reason: str) -> None:
    command = f"printf begin; while [ ! -e go ]; do sleep 0.01; done; {end}"
    options: dict[str, Any] = {"timeout": 2, "max_output": 2_000_000}
    with (
        opened(tmp_path, shared, command=command, mode="spawn", stream=True, **options) as handler,
        outcome_of(handler) as outcome,
    ):
        assert isinstance(outcome, Stream)
        chunks = outcome.spool.live_chunks()
        assert next(chunks) == b"begin"
        (tmp_path / "go").touch()
        with pytest.raises(CutOffError):
            list(chunks)
        ended = outcome.ended()
        assert isinstance(ended, Failure)
        assert ended.reason == reason


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_large_stream_is_whole_for_a_reader_that_follows_and_one_that_comes_late(
    tmp_path: Path, on_disk: bool
) -> None:
    size = 3 * MEMORY_LIMIT + 7
    folder = tmp_path / "spool"
    folder.mkdir()
    with (
        surroundings(folder if on_disk else None) as shared,
        opened(tmp_path, shared, command=f"yes 0123456 | head -c {size}", mode="spawn", stream=True) as handler,
        outcome_of(handler) as outcome,
    ):
        assert isinstance(outcome, Stream)
        live = b"".join(outcome.spool.live_chunks())
        assert live == (b"0123456\n" * (size // 8 + 1))[:size]
        ended = outcome.ended()
        assert isinstance(ended, Result)
        assert b"".join(ended.spool.chunks()) == live
    assert list(folder.iterdir()) == []


def test_a_reader_that_stops_does_not_stop_the_command(tmp_path: Path, shared: Surroundings) -> None:
    with (
        opened(tmp_path, shared, command="head -c 5000000 /dev/zero; touch done", mode="spawn", stream=True) as handler,
        outcome_of(handler) as outcome,
    ):
        assert isinstance(outcome, Stream)
        next(outcome.spool.live_chunks())
        assert isinstance(outcome.ended(), Result)
        assert (tmp_path / "done").exists()
        assert outcome.spool.size == 5_000_000


def test_a_stream_is_ended_when_the_launcher_stops_it(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command="printf x; exec sleep 300", mode="spawn", stream=True) as handler:
        begun = threading.Event()

        def read() -> object:
            with outcome_of(handler) as outcome:
                assert isinstance(outcome, Stream)
                chunks = outcome.spool.live_chunks()
                next(chunks)
                begun.set()
                with pytest.raises(CutOffError):
                    list(chunks)
                return outcome.ended()

        reading = Background(read)
        assert begun.wait(30)
        shared.stop.set()
        ended = reading.outcome()
        assert isinstance(ended, Failure)
        assert ended.reason == "shutdown"


def test_no_thread_is_left(tmp_path: Path, shared: Surroundings) -> None:
    with opened(tmp_path, shared, command="printf x; exit 3", mode="spawn", stream=True) as handler:
        for _ in range(3):
            with outcome_of(handler):
                pass
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "stream"], what="the end of the loops")
