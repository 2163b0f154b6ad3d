import itertools
import os
import signal
import threading
import time

import pytest

from tests.support import responses
from tests.support.answers import error_of
from tests.support.processes import children, wait_until
from tests.support.request_log import PATIENCE, Endpoint
from tests.support.toml import function, served, service, table
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"])
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")
ENDLESS = function("endless", ["sleep", "300"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker(harness: WorkerHarness, number: signal.Signals) -> None:
    """An idle worker exits when its open poll ends."""
    harness.runtime.poll_seconds = 1.5
    worker = harness.start(ECHO)
    worker.signal(number)
    assert worker.wait() == 0
    assert harness.runtime.request_log.all(Endpoint.JOB)[-1].status == 204, "the open poll was broken off"


def test_no_new_poll_is_opened_after_sigterm(harness: WorkerHarness) -> None:
    harness.runtime.poll_seconds = 1.0
    worker = harness.start(BLOCKED)
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    harness.runtime.request_log.wait_for(lambda: harness.runtime.request_log.open_polls() == 1, what="the next poll")
    worker.terminate()
    polls = harness.runtime.request_log.all(Endpoint.JOB)
    harness.runtime.request_log.wait_for(
        lambda: harness.runtime.request_log.open_polls() == 0, what="the end of the open poll"
    )
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert len(harness.runtime.request_log.all(Endpoint.JOB)) <= len(polls) + 1
    assert bytes(harness.runtime.result(job).body) == b"done"


def test_hanging_poll(harness: WorkerHarness) -> None:
    """A hanging poll delays the end by 5 seconds at most."""
    harness.runtime.always(Endpoint.JOB, responses.hang)
    worker = harness.start(ECHO)
    start = time.monotonic()
    worker.terminate()
    assert worker.wait() == 0
    assert time.monotonic() - start < 15


def test_running_job(harness: WorkerHarness) -> None:
    """A running job is answered before the exit."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(BLOCKED)
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    worker.terminate()
    assert worker.is_running()
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"done"


def test_job_after_sigterm(harness: WorkerHarness) -> None:
    """A job that arrives in the open poll after SIGTERM is answered."""
    worker = harness.start(ECHO)
    worker.terminate()
    job = harness.runtime.submit("echo", b"[1]")
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"[1]"


def test_waiting_jobs(harness: WorkerHarness) -> None:
    """Jobs that wait for a slot at SIGTERM are answered."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(BLOCKED + ECHO)
    jobs = [harness.runtime.submit("blocked"), *(harness.runtime.submit("echo", b"1") for _ in range(3))]
    harness.runtime.request_log.wait_for(lambda: len(harness.runtime.jobs.handed_out) == 4, what="all jobs in hand")
    worker.terminate()
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert [bytes(harness.runtime.result(job).body) for job in jobs] == [b"done", b"1", b"1", b"1"]


def test_end_of_the_drain(harness: WorkerHarness) -> None:
    """Jobs that are not done when the drain ends are answered with "shutdown"."""
    worker = harness.start(ENDLESS + ECHO + table("launcher", drain_timeout=1))
    jobs = [harness.runtime.submit("endless"), harness.runtime.submit("echo", b"1")]
    harness.runtime.request_log.wait_for(lambda: len(harness.runtime.jobs.handed_out) == 2, what="both jobs in hand")
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert [error_of(harness.runtime.result(job))["reason"] for job in jobs] == ["shutdown", "shutdown"]
    worker.wait_until_alone()


@pytest.mark.parametrize("source", ["option", "variable"])
def test_sources_of_the_drain_timeout(harness: WorkerHarness, source: str) -> None:
    """The drain timeout may be an option or a variable."""
    arguments = ["--drain-timeout", "1"] if source == "option" else []
    variables = {"CM_EXEC_DRAIN_TIMEOUT": "1"} if source == "variable" else {}
    environment = {**harness.environment(), **variables}
    worker = harness.start(ENDLESS + table("launcher", drain_timeout=600), *arguments, environment=environment)
    job = harness.runtime.submit("endless")
    harness.runtime.wait_until_handed_out(job)
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert error_of(harness.runtime.result(job))["reason"] == "shutdown"


@pytest.mark.parametrize(("first", "second"), list(itertools.product([signal.SIGTERM, signal.SIGINT], repeat=2)))
def test_a_second_signal_ends_at_once(harness: WorkerHarness, first: signal.Signals, second: signal.Signals) -> None:
    worker = harness.start(ENDLESS + table("launcher", drain_timeout=600))
    job = harness.runtime.submit("endless")
    harness.runtime.wait_until_handed_out(job)
    worker.signal(first)
    worker.wait_for_log(first.name)  # two at the same moment count as one
    worker.signal(second)
    worker.wait(15)
    worker.wait_until_alone()


def test_lost_result(harness: WorkerHarness) -> None:
    """A result that cannot be posted in the drain is abandoned, and the log names its job."""
    harness.runtime.always(Endpoint.RESULT, responses.answer(500))
    worker = harness.start(ECHO + table("launcher", drain_timeout=2))
    job = harness.runtime.submit("echo", b"1")
    harness.runtime.request_log.wait_for(lambda: harness.runtime.posts(job), what="a post")
    harness.runtime.release_polls()
    worker.terminate()
    worker.wait()
    assert job in worker.log
    assert "Traceback" not in worker.log


def test_lost_results_of_waiting_jobs(harness: WorkerHarness) -> None:
    """The end of a drain is bounded also for the jobs that wait for a slot."""
    worker = harness.start(ENDLESS + table("launcher", drain_timeout=1, concurrency=1))
    jobs = [harness.runtime.submit("endless") for _ in range(3)]
    harness.runtime.wait_for_poll(after=3)  # the worker has all three
    harness.runtime.go_down()
    worker.terminate()
    assert worker.wait() == 0
    assert all(f"job {job}: its result could not be posted before the end" in worker.log for job in jobs)


def test_waiting_jobs_at_the_end_of_a_drain(harness: WorkerHarness) -> None:
    """They are answered at the same time, and not one after another: a slow runtime gets all of them in time."""
    posts = threading.Barrier(6)

    def wait_for_all(context: responses.RequestContext) -> None:
        posts.wait(PATIENCE)
        responses.normal(context)

    harness.runtime.always(Endpoint.RESULT, wait_for_all)
    worker = harness.start(ENDLESS + table("launcher", drain_timeout=1, concurrency=1))
    jobs = [harness.runtime.submit("endless") for _ in range(6)]
    for job in jobs:
        harness.runtime.wait_until_handed_out(job)
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert {error_of(harness.runtime.result(job))["reason"] for job in jobs} == {"shutdown"}


NOT_READY = function("slow", ["sleep", "300"], mode="persistent", ready="message") + table(
    "launcher", wait_for_services=False, drain_timeout=1, concurrency=3
)
BUSY = (
    service("s", "while read -r line; do touch started; sleep 300; done", processes=1)
    + served("slow")
    + served("other")
    + table("launcher", drain_timeout=1, concurrency=3)
)


@pytest.mark.parametrize("config", [NOT_READY, BUSY])
def test_jobs_that_wait_for_a_process(harness: WorkerHarness, config: str) -> None:
    """A job that waits for a process of its service is answered at the end of the drain, too."""
    worker = harness.start(config)
    jobs = [harness.runtime.submit("slow") for _ in range(3)]
    harness.runtime.wait_for_poll(after=3)  # the worker has all three
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert {error_of(harness.runtime.result(job))["reason"] for job in jobs} == {"shutdown"}
    assert "exiting; all jobs answered" in worker.log


def test_output_that_never_ends(harness: WorkerHarness) -> None:
    """A process that left the group of an ended command, and writes on, does not delay the answer of its job."""
    chatty = function(
        "chatty", "setsid sh -c 'trap \"\" TERM; while :; do echo x; sleep 0.1; done' & touch started; sleep 300"
    )
    worker = harness.start(chatty + table("launcher", drain_timeout=1))
    job = harness.runtime.submit("chatty")
    wait_until(harness.folder.joinpath("started").exists, what="the job")
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert error_of(harness.runtime.result(job))["reason"] == "shutdown"
    assert "held its output open" not in worker.log


def test_late_result(harness: WorkerHarness) -> None:
    """A result that the runtime accepts late in the drain is not lost."""
    harness.runtime.script(Endpoint.RESULT, *[responses.answer(503)] * 3)
    worker = harness.start(ECHO)
    job = harness.runtime.submit("echo", b"1")
    harness.runtime.request_log.wait_for(lambda: harness.runtime.posts(job), what="a post")
    harness.runtime.release_polls()
    worker.terminate()
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"1"


def test_sigterm_before_the_connection(harness: WorkerHarness) -> None:
    """SIGTERM ends a worker that waits for its connection file."""
    harness.replica.connection_file.unlink()
    worker = harness.launch(ECHO, environment=harness.environment(harness.replica.original()))
    worker.wait_for_log("connection")
    worker.terminate()
    assert worker.wait(15) == 0


def test_sigterm_while_the_runtime_is_down(harness: WorkerHarness) -> None:
    """SIGTERM ends a worker whose runtime is down."""
    worker = harness.start(ECHO)
    harness.runtime.go_down()
    worker.terminate()
    assert worker.wait(15) == 0


def test_killed_worker(harness: WorkerHarness) -> None:
    """A killed worker leaves no handler that reads or writes its pipes, since it sees their end."""
    worker = harness.start(function("f", "touch started; cat; while printf x; do sleep 0.1; done"))
    job = harness.runtime.submit("f")
    harness.runtime.wait_until_handed_out(job)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    worker.wait_until_alone()


PID_NAMESPACE = ("--pid", "--fork", "--mount-proc")


def test_no_zombies_as_pid_1(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """As PID 1 cm-exec leaves no zombies after 20 jobs with orphans."""
    orphans = "for _ in 1 2 3; do sleep 0.05 >/dev/null 2>&1 & done; (sleep 0 &); printf done"
    worker = harness.start(function("f", orphans), wrapper=[*unshare, *PID_NAMESPACE])
    assert [harness.runtime.call("f") for _ in range(20)] == [b"done"] * 20
    worker.wait_until_alone()
    # an orphan that exits after the end of its job is reaped within a second
    wait_until(lambda: all(p.state != "Z" for p in children(worker.pid)), what="the reaping of all zombies")


def test_as_pid_1_an_idle_worker_obeys_sigterm(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    harness.runtime.poll_seconds = 1.0
    worker = harness.start(ECHO, wrapper=[*unshare, *PID_NAMESPACE])
    worker.terminate()
    assert worker.wait() == 0


def test_drain_as_pid_1(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """As PID 1 cm-exec answers a running job before it exits."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(BLOCKED, wrapper=[*unshare, *PID_NAMESPACE])
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    worker.terminate()
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"done"


def test_as_pid_1_a_second_signal_ends_at_once(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    worker = harness.start(ENDLESS + table("launcher", drain_timeout=600), wrapper=[*unshare, *PID_NAMESPACE])
    harness.runtime.wait_until_handed_out(harness.runtime.submit("endless"))
    worker.terminate()
    worker.wait_for_log("SIGTERM")
    worker.terminate()
    worker.wait(15)
