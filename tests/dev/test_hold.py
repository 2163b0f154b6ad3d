"""A worker is replaced: jobs wait meanwhile, and only the old one's are lost if it dies."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cm_exec.local_runtime import LocalRuntime, ProcessState
from tests.support.local_runtime import ManualWorker
from tests.support.processes import wait_until


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path, max_concurrent_tasks=2, poll_wait=60.0, poll_timeout=0.2) as running:
        yield running


def test_an_open_poll_is_answered_at_once_and_gets_no_job(runtime: LocalRuntime) -> None:
    with ManualWorker(runtime) as worker:
        answers: list[int] = []
        polling = threading.Thread(target=lambda: answers.append(worker.poll().status))
        polling.start()
        runtime.wait_for_poll()
        runtime.hold()
        runtime.submit("f", b"1")
        polling.join(30)
        assert answers == [204]
        assert worker.poll().status == 204


def test_what_was_held_is_handed_out_afterwards(runtime: LocalRuntime) -> None:
    with ManualWorker(runtime) as worker:
        runtime.hold()
        call = runtime.submit("f", b"1")
        assert worker.poll().status == 204
        runtime.release()
        assert worker.take()["jobId"] == call.job_id


def test_silence_while_held_is_no_breach(runtime: LocalRuntime) -> None:
    with ManualWorker(runtime) as worker:
        runtime.hold()
        assert worker.poll().status == 204
        threading.Event().wait(0.5)  # more than the runtime's patience
        assert runtime.violations == []
        runtime.release()
        wait_until(lambda: runtime.violations, what="the breach of a worker that polls no more")
        assert [violation.kind.value for violation in runtime.violations] == ["polls_stopped"]


def test_a_successor_has_its_time_until_its_first_poll(runtime: LocalRuntime) -> None:
    runtime.report_process(ProcessState.RUNNING, pid=1)
    with ManualWorker(runtime) as worker:
        runtime.hold()
        assert worker.poll().status == 204
        runtime.report_process(ProcessState.RESTARTING)
        runtime.report_process(ProcessState.RUNNING, pid=2)
        runtime.release()
        threading.Event().wait(0.5)  # more than the runtime's patience
        assert runtime.violations == []
        call = runtime.submit("f", b"1", timeout=0.1)
        reason = call.wait_ended(timeout=30).reason or ""
        assert reason.endswith("no worker has polled since the last one ended")


def test_of_two_workers_only_the_dead_one_loses_its_job(runtime: LocalRuntime) -> None:
    with ManualWorker(runtime) as worker:
        first, second = runtime.submit("f", b"1"), runtime.submit("f", b"2")
        assert [worker.take()["jobId"], worker.take()["jobId"]] == [first.job_id, second.job_id]
        assert runtime.worker_gone("the worker ended", {first.job_id, "another"}) == [first.job_id]
        assert worker.post_result(second.job_id, b"2").status == 204
        assert second.wait(timeout=30).body == b"2"
        states = {job.job_id: job.state.value for job in runtime.jobs}
        assert states == {first.job_id: "lost", second.job_id: "done"}
