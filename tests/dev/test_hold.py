"""While a worker is replaced, jobs wait, and only jobs of the old worker can be lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.worker_status import ProcessState
from tests.support.local_runtime import ManualWorker
from tests.support.processes import wait_until


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path, max_concurrent_tasks=2, poll_wait=60.0, poll_timeout=0.2) as running:
        yield running


def test_open_poll(runtime: LocalRuntime) -> None:
    """An open poll gets an empty response as soon as jobs are held back."""
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


def test_release(runtime: LocalRuntime) -> None:
    """A job that was held back is sent after the release."""
    with ManualWorker(runtime) as worker:
        runtime.hold()
        call = runtime.submit("f", b"1")
        assert worker.poll().status == 204
        runtime.release()
        assert worker.take()["jobId"] == call.job_id


def test_silence(runtime: LocalRuntime) -> None:
    """A worker that does not poll while jobs are held back commits no protocol violation."""
    with ManualWorker(runtime) as worker:
        runtime.hold()
        assert worker.poll().status == 204
        threading.Event().wait(0.5)  # longer than a worker may be silent
        assert runtime.violations == []
        runtime.release()
        wait_until(lambda: runtime.violations, what="the breach of a worker that polls no more")
        assert [violation.kind.value for violation in runtime.violations] == ["polls_stopped"]


def test_first_poll_of_a_successor(runtime: LocalRuntime) -> None:
    """The next worker has the usual time until its first poll."""
    runtime.report_process(ProcessState.RUNNING, pid=1)
    with ManualWorker(runtime) as worker:
        runtime.hold()
        assert worker.poll().status == 204
        runtime.report_process(ProcessState.RESTARTING)
        runtime.report_process(ProcessState.RUNNING, pid=2)
        runtime.release()
        threading.Event().wait(0.5)  # longer than a worker may be silent
        assert runtime.violations == []
        call = runtime.submit("f", b"1", timeout=0.1)
        reason = call.wait_ended(timeout=30).reason or ""
        assert reason.endswith("no worker has polled since the last one ended")


def test_two_workers(runtime: LocalRuntime) -> None:
    """Only the dead worker of two loses its job."""
    with ManualWorker(runtime) as worker:
        first, second = runtime.submit("f", b"1"), runtime.submit("f", b"2")
        assert [worker.take()["jobId"], worker.take()["jobId"]] == [first.job_id, second.job_id]
        assert runtime.worker_gone("the worker ended", {first.job_id, "another"}) == [first.job_id]
        assert worker.post_result(second.job_id, b"2").status == 204
        assert second.wait(timeout=30).body == b"2"
        states = {job.job_id: job.state.value for job in runtime.jobs}
        assert states == {first.job_id: "lost", second.job_id: "done"}
