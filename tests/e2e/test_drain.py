import itertools
import os
import signal
import time

import pytest

from tests.support import behaviours
from tests.support.answers import error_of
from tests.support.bench import Bench
from tests.support.ledger import Endpoint
from tests.support.processes import children
from tests.support.toml import function, table

ECHO = function("echo", ["cat"])
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")
ENDLESS = function("endless", ["sleep", "300"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_exits_within_the_open_poll(bench: Bench, number: signal.Signals) -> None:
    bench.runtime.poll_seconds = 1.5
    worker = bench.start(ECHO)
    worker.signal(number)
    assert worker.wait() == 0
    assert bench.runtime.ledger.all(Endpoint.JOB)[-1].status == 204, "the open poll was broken off"


def test_no_new_poll_is_opened_after_sigterm(bench: Bench) -> None:
    bench.runtime.poll_seconds = 1.0
    worker = bench.start(BLOCKED)
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    bench.runtime.ledger.wait_for(lambda: bench.runtime.ledger.open_polls() == 1, what="the next poll")
    worker.terminate()
    polls = bench.runtime.ledger.all(Endpoint.JOB)
    bench.runtime.ledger.wait_for(lambda: bench.runtime.ledger.open_polls() == 0, what="the end of the open poll")
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert len(bench.runtime.ledger.all(Endpoint.JOB)) <= len(polls) + 1
    assert bytes(bench.runtime.result(job).body) == b"done"


def test_a_poll_that_hangs_holds_up_the_end_for_5_seconds_at_most(bench: Bench) -> None:
    bench.runtime.always(Endpoint.JOB, behaviours.hang)
    worker = bench.start(ECHO)
    start = time.monotonic()
    worker.terminate()
    assert worker.wait() == 0
    assert time.monotonic() - start < 15


def test_a_running_job_is_answered_before_the_exit(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(BLOCKED)
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    worker.terminate()
    assert worker.is_running()
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"done"


def test_a_job_that_comes_in_the_open_poll_after_sigterm_is_answered(bench: Bench) -> None:
    worker = bench.start(ECHO)
    worker.terminate()
    job = bench.runtime.submit("echo", b"[1]")
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"[1]"


def test_jobs_that_wait_for_a_slot_at_sigterm_are_answered(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(BLOCKED + ECHO)
    jobs = [bench.runtime.submit("blocked"), *(bench.runtime.submit("echo", b"1") for _ in range(3))]
    bench.runtime.ledger.wait_for(lambda: len(bench.runtime.jobs.handed_out) == 4, what="all jobs in hand")
    worker.terminate()
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert [bytes(bench.runtime.result(job).body) for job in jobs] == [b"done", b"1", b"1", b"1"]


def test_what_is_not_done_when_the_drain_ends_is_answered_as_shutdown(bench: Bench) -> None:
    worker = bench.start(ENDLESS + ECHO + table("launcher", drain_timeout=1))
    jobs = [bench.runtime.submit("endless"), bench.runtime.submit("echo", b"1")]
    bench.runtime.ledger.wait_for(lambda: len(bench.runtime.jobs.handed_out) == 2, what="both jobs in hand")
    bench.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert [error_of(bench.runtime.result(job))["reason"] for job in jobs] == ["shutdown", "shutdown"]
    worker.wait_until_alone()


@pytest.mark.parametrize("source", ["option", "variable"])
def test_drain_timeout_is_an_option_and_a_variable_too(bench: Bench, source: str) -> None:
    arguments = ["--drain-timeout", "1"] if source == "option" else []
    variables = {"CM_EXEC_DRAIN_TIMEOUT": "1"} if source == "variable" else {}
    environment = {**bench.environment(), **variables}
    worker = bench.start(ENDLESS + table("launcher", drain_timeout=600), *arguments, environment=environment)
    job = bench.runtime.submit("endless")
    bench.runtime.wait_until_handed_out(job)
    bench.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert error_of(bench.runtime.result(job))["reason"] == "shutdown"


@pytest.mark.parametrize(("first", "second"), list(itertools.product([signal.SIGTERM, signal.SIGINT], repeat=2)))
def test_a_second_signal_ends_at_once(bench: Bench, first: signal.Signals, second: signal.Signals) -> None:
    worker = bench.start(ENDLESS + table("launcher", drain_timeout=600))
    job = bench.runtime.submit("endless")
    bench.runtime.wait_until_handed_out(job)
    worker.signal(first)
    worker.wait_for_log(first.name)  # two at the same moment count as one
    worker.signal(second)
    worker.wait(15)
    worker.wait_until_alone()


def test_a_result_that_cannot_be_posted_is_given_up_when_the_drain_ends_and_named(bench: Bench) -> None:
    bench.runtime.always(Endpoint.RESULT, behaviours.answer(500))
    worker = bench.start(ECHO + table("launcher", drain_timeout=2))
    job = bench.runtime.submit("echo", b"1")
    bench.runtime.ledger.wait_for(lambda: bench.runtime.posts(job), what="a post")
    bench.runtime.release_polls()
    worker.terminate()
    worker.wait()
    assert job in worker.log
    assert "Traceback" not in worker.log


def test_a_result_that_the_runtime_takes_late_in_the_drain_is_not_lost(bench: Bench) -> None:
    bench.runtime.script(Endpoint.RESULT, *[behaviours.answer(503)] * 3)
    worker = bench.start(ECHO)
    job = bench.runtime.submit("echo", b"1")
    bench.runtime.ledger.wait_for(lambda: bench.runtime.posts(job), what="a post")
    bench.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"1"


def test_sigterm_ends_a_worker_that_waits_for_its_connection(bench: Bench) -> None:
    bench.replica.connection_file.unlink()
    worker = bench.launch(ECHO, environment=bench.environment(bench.replica.original()))
    worker.wait_for_log("connection")
    worker.terminate()
    assert worker.wait(15) == 0


def test_sigterm_ends_a_worker_whose_runtime_is_down(bench: Bench) -> None:
    worker = bench.start(ECHO)
    bench.runtime.go_down()
    worker.terminate()
    assert worker.wait(15) == 0


def test_a_killed_worker_leaves_no_handler_running(bench: Bench) -> None:
    """Nobody can clean up after SIGKILL; a handler that reads or writes its pipes sees their end."""
    worker = bench.start(function("f", "touch started; cat; while printf x; do sleep 0.1; done"))
    job = bench.runtime.submit("f")
    bench.runtime.wait_until_handed_out(job)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    worker.wait_until_alone()


PID_NAMESPACE = ("--pid", "--fork", "--mount-proc")


def test_as_pid_1_there_are_no_zombies_after_20_jobs_with_orphans(bench: Bench, unshare: tuple[str, ...]) -> None:
    orphans = "for _ in 1 2 3; do sleep 0.05 >/dev/null 2>&1 & done; (sleep 0 &); printf done"
    worker = bench.start(function("f", orphans), wrapper=[*unshare, *PID_NAMESPACE])
    assert [bench.runtime.call("f") for _ in range(20)] == [b"done"] * 20
    worker.wait_until_alone()
    zombies = [p for p in children(worker.pid) if p.state == "Z"]
    assert zombies == []


def test_as_pid_1_an_idle_worker_obeys_sigterm(bench: Bench, unshare: tuple[str, ...]) -> None:
    bench.runtime.poll_seconds = 1.0
    worker = bench.start(ECHO, wrapper=[*unshare, *PID_NAMESPACE])
    worker.terminate()
    assert worker.wait() == 0


def test_as_pid_1_a_running_job_is_answered_before_the_exit(bench: Bench, unshare: tuple[str, ...]) -> None:
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(BLOCKED, wrapper=[*unshare, *PID_NAMESPACE])
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    worker.terminate()
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"done"


def test_as_pid_1_a_second_signal_ends_at_once(bench: Bench, unshare: tuple[str, ...]) -> None:
    worker = bench.start(ENDLESS + table("launcher", drain_timeout=600), wrapper=[*unshare, *PID_NAMESPACE])
    bench.runtime.wait_until_handed_out(bench.runtime.submit("endless"))
    worker.terminate()
    worker.wait_for_log("SIGTERM")
    worker.terminate()
    worker.wait(15)
