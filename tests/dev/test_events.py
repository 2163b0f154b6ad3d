"""Server-sent events: what the console learns, and when."""

import time
from pathlib import Path
from typing import Any

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.functions import FunctionInfo
from cm_exec.local_runtime.core.worker_status import ProcessState
from cm_exec.local_runtime.views import CallerOptions
from tests.support.caller import Caller, events


def test_states_of_a_job(caller: Caller) -> None:
    """The events of a job have each of its states."""
    with events(caller) as stream:
        kind, hello = next(stream)
        assert (kind, hello["run"]) == ("hello", caller.get("/state").json["run"])
        job_id = caller.post("/functions/echo", b"1").headers["x-job-id"]
        seen: list[str] = []
        while "done" not in seen:
            _, update = next(stream)
            seen += [job["state"] for job in update.get("jobs", []) if job["id"] == job_id]
        assert seen[-1] == "done"


def collect(stream: Any, name: str) -> Any:
    """Return this member of the first update that has it."""
    return next(update[name] for kind, update in stream if kind == "update" and name in update)


def test_other_events(serving: LocalRuntime, caller: Caller) -> None:
    """Log lines, protocol violations, functions and the worker have events."""
    with events(caller) as stream:
        next(stream)
        assert collect(stream, "worker")["process"] is None
        serving.record_log(None, "a line")
        assert [line["line"] for line in collect(stream, "logs")] == ["a line"]
        serving.declare_functions({"f": FunctionInfo()})
        assert [function["name"] for function in collect(stream, "functions")] == ["f"]
        serving.report_process(ProcessState.RUNNING, pid=7)
        assert collect(stream, "worker")["process"]["pid"] == 7
        serving.set_faults("latency=0.001")
        caller.request("PUT", "/faults", b'{"faults": ["latency=0.002"]}')
        assert collect(stream, "faults") == ["latency=0.002"]
        serving.rotate_token()
        assert {violation["kind"] for violation in collect(stream, "breaches")} == {"unauthorized"}


def test_evicted_jobs(tmp_path: Path) -> None:
    """An event names the jobs that were evicted."""
    with LocalRuntime(tmp_path, history=1, callers=CallerOptions()) as runtime, events(Caller(runtime)) as stream:
        next(stream)
        first, _ = [runtime.submit("f", b"1", timeout=0.01) for _ in range(2)]
        assert first.job_id in collect(stream, "forgotten")


def test_many_changes(tmp_path: Path) -> None:
    """Many changes make few events."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime, events(Caller(runtime)) as stream:
        next(stream)
        began = time.monotonic()
        for _ in range(5000):
            runtime.submit("f", b"1")
        updates: list[dict[str, Any]] = []
        while not updates or updates[-1].get("queue", {}).get("queued") != 5000:
            updates.append(next(stream)[1])
        assert len(updates) <= 2 + 10 * (time.monotonic() - began)
        assert max(len(update.get("jobs", [])) for update in updates) <= 200


def test_end_of_the_runtime(tmp_path: Path) -> None:
    """The stream of events ends with the runtime."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime, events(Caller(runtime)) as stream:
        next(stream)
        runtime.stop()
        assert [kind for kind, _ in stream if kind != "update"] == []
