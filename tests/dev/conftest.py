"""A runtime with its port for callers, and a worker whose results depend on the function's name."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.views import CallerOptions
from tests.support.caller import Caller
from tests.support.local_runtime import ManualWorker

Handler = Callable[[ManualWorker, dict[str, Any]], None]


def answer(worker: ManualWorker, job: dict[str, Any]) -> None:
    """Post the result that the name of the function stands for, or none."""
    function, job_id = job["queryType"], job["jobId"]
    if function == "echo":
        worker.post_result(job_id, json.dumps(job["query"]).encode())
    elif function == "fail":
        worker.post_result(job_id, b'{"error": "it ended with exit status 3", "reason": "exit", "exitCode": 3}')
    elif function == "octets":
        worker.post_result(job_id, bytes(range(256)) * job["query"])
    elif function == "count":
        worker.post_result(job_id, (f"{n}\n".encode() for n in range(job["query"])))


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[LocalRuntime]:
    """Start a runtime whose worker echoes, fails, counts, and leaves every other function unanswered."""
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=3, poll_wait=0.2, callers=CallerOptions()) as runtime:
        stop = threading.Event()
        worker = threading.Thread(target=_work, args=(runtime, stop))
        worker.start()
        try:
            yield runtime
        finally:
            stop.set()
            worker.join(30)


def _work(runtime: LocalRuntime, stop: threading.Event) -> None:
    with ManualWorker(runtime) as worker:
        while not stop.is_set():
            reply = worker.poll()
            if reply.status == 200:
                answer(worker, json.loads(reply.body)["computeModuleJobV1"])


@pytest.fixture
def caller(serving: LocalRuntime) -> Caller:
    """Return a client that calls the runtime as a program does."""
    return Caller(serving)
