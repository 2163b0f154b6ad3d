"""The port for callers, as a person with curl uses it."""

import http.client
import json
import re
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import NoResultError
from cm_exec.local_runtime.core.functions import FunctionInfo
from cm_exec.local_runtime.core.worker_status import ProcessState, ServiceStatus
from cm_exec.local_runtime.views import CallerOptions
from tests.support.caller import Caller
from tests.support.local_runtime import ManualWorker

LONG = 30.0


def wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


# Calls


def test_call(caller: Caller) -> None:
    """A call returns the result, and its headers describe the job."""
    reply = caller.post("/functions/echo", b'{"a": 1}')
    assert (reply.status, reply.body) == (200, b'{"a": 1}')
    assert reply.headers["x-job-state"] == "done"
    assert reply.headers["content-type"] == "application/json"
    assert float(reply.headers["x-job-duration-ms"]) > 0
    assert caller.get(f"/jobs/{reply.headers['x-job-id']}").json["function"] == "echo"


def test_curl(serving: LocalRuntime, tmp_path: Path) -> None:
    """A function can be called with curl alone."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "q.json").write_text('{"a": 1}')
    token = f"Authorization: Bearer {serving.callers.token}"
    command = ["curl", "-sf", "-H", token, "-d", "@q.json", f"{serving.callers.url}/functions/echo"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == b'{"a": 1}'


def test_empty_body(caller: Caller) -> None:
    """An empty body is an empty query."""
    assert caller.post("/functions/echo").body == b"{}"


def test_any_name(serving: LocalRuntime, caller: Caller) -> None:
    """Any name can be called, whatever its characters are."""
    name = "com.acme/été 1%"
    assert caller.post(f"/functions/{quote(name, safe='')}?wait=false", b"1").status == 202
    assert serving.jobs[-1].function == name


ODD_QUERY = b'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\\ud83d","d":1,"d":2,"z":[ ]}'


def test_query_bytes(serving: LocalRuntime, caller: Caller) -> None:
    """The runtime passes a query on byte for byte."""
    reply = caller.post("/functions/unanswered?wait=false", ODD_QUERY, X_User_Id="someone")
    assert serving.jobs[-1].query == ODD_QUERY
    assert serving.jobs[-1].submission.user_id == "someone"
    assert caller.get(f"/jobs/{reply.json['jobId']}/query").body == ODD_QUERY


@pytest.mark.parametrize("body", [b"{", b"NaN", b"plain words", b"{} {}", b"\xff", b"[" * 100_000])
def test_invalid_json(serving: LocalRuntime, caller: Caller, body: bytes) -> None:
    """A body that is not JSON is refused, and there is no job."""
    reply = caller.post("/functions/echo", body)
    assert reply.status == 400
    assert reply.json["error"].startswith("the body is not JSON: ")
    assert serving.jobs == []


def test_failed_job(caller: Caller) -> None:
    """The response to a failed job is its error result."""
    reply = caller.post("/functions/fail", b"1")
    assert (reply.status, reply.headers["x-job-state"]) == (200, "failed")
    assert reply.json["exitCode"] == 3
    assert caller.get(f"/jobs/{reply.headers['x-job-id']}").json["failure"] == {
        "message": "it ended with exit status 3",
        "reason": "exit",
        "exitCode": 3,
        "signal": None,
    }


def test_caller_timeout(serving: LocalRuntime, caller: Caller) -> None:
    """A call that times out gets 504 and the id of its job."""
    reply = caller.post("/functions/unanswered?timeout=0.1", b"1")
    assert (reply.status, reply.json["jobId"]) == (504, serving.jobs[0].job_id)
    assert re.fullmatch(
        r"no result within the caller's 0\.1 s: the job has been running for 0\.\d s", reply.json["error"]
    )


def test_timeout_without_a_worker(tmp_path: Path) -> None:
    """The error says that no worker has polled."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime:
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.status == 504
        assert reply.json["error"].endswith("no worker has polled yet")


def test_timeout_in_the_queue(tmp_path: Path) -> None:
    """The error names the job that occupies the slot."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime, ManualWorker(runtime) as worker:
        holder = runtime.submit("slow", b"1")
        worker.take()
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.status == 504
        assert f"the only slot is held by job {holder.job_id} (slow, #1) for 0." in reply.json["error"]


def test_blame_for_a_timeout(tmp_path: Path) -> None:
    """The error blames a running function only after that function's own timeout."""
    with LocalRuntime(tmp_path, callers=CallerOptions(), answer_grace=0.1) as runtime, ManualWorker(runtime) as worker:
        runtime.declare_functions({"slow": FunctionInfo(timeout=60.0), "quick": FunctionInfo(timeout=0.1)})
        for function in ("slow", "quick"):
            call = runtime.submit(function, b"1", timeout=0.05)
            job = worker.take()
            with pytest.raises(NoResultError):
                call.wait(LONG)
            if function == "quick":
                wait(lambda: runtime.violation_count > 0)
            worker.post_result(job["jobId"], b"1")
        assert {violation.function for violation in runtime.violations} == {"quick"}


def test_status_of_a_failure(caller: Caller) -> None:
    """A caller can choose the status of a failure, since `curl -f` takes 200 for success."""
    reply = caller.post("/functions/fail?fail=502", b"1")
    assert (reply.status, reply.json["exitCode"]) == (502, 3)
    assert caller.post("/functions/echo?fail=502", b"1").status == 200
    assert caller.post("/functions/fail?fail=200", b"1").status == 400


def test_timeout_before_services_are_ready(tmp_path: Path) -> None:
    """The error names the services that the worker waits for."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime:
        runtime.report_service(ServiceStatus(name="model", kind="lines", state="starting", processes=1))
        runtime.report_service(ServiceStatus(name="web", kind="http", state="ready", processes=1))
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.json["error"].endswith("no worker has polled yet; it waits for its service model")


def test_missing_name(serving: LocalRuntime, caller: Caller) -> None:
    """A call without a name makes no job."""
    reply = caller.post("/functions/", b"1")
    assert (reply.status, reply.json["error"]) == (404, "the function's name is missing; send POST /functions/NAME")
    assert serving.jobs == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/functions/echo", "POST"),
        ("POST", "/jobs", "GET"),
        ("DELETE", "/state", "GET"),
        ("POST", "/faults", "PUT"),
    ],
)
def test_wrong_method(caller: Caller, method: str, path: str, allowed: str) -> None:
    """A wrong method gets 405, and a header with the right one."""
    reply = caller.request(method, path, b"")
    assert (reply.status, reply.headers["allow"]) == (405, allowed)


def test_mistyped_function(caller: Caller) -> None:
    """A call with a mistyped name adds no function to the list."""
    caller.post("/functions/ecoh?timeout=0.1", b"1")
    caller.post("/functions/echo", b"1")
    assert [function["name"] for function in caller.get("/functions").json["functions"]] == ["echo"]


def test_identity(tmp_path: Path) -> None:
    """The identity of a caller reaches the worker."""
    with (
        LocalRuntime(tmp_path, callers=CallerOptions(user_id="default", auth_header="Bearer default")) as runtime,
        ManualWorker(runtime) as worker,
    ):
        caller = Caller(runtime)
        caller.post("/functions/f?wait=false", b"1")
        job = worker.take()
        assert (job["userId"], job["authHeader"]) == ("default", "Bearer default")
        worker.post_result(job["jobId"], b"1")
        caller.post("/functions/f?wait=false", b"1", X_User_Id="ada", X_Auth_Header="Bearer ada")
        job = worker.take()
        assert (job["userId"], job["authHeader"]) == ("ada", "Bearer ada")
        worker.post_result(job["jobId"], b"1")


def test_cancelled_job(tmp_path: Path) -> None:
    """A cancelled job keeps its slot until it is dropped."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime, ManualWorker(runtime) as worker:
        caller = Caller(runtime)
        first, second = (caller.post("/functions/f?wait=false", b"1").json["jobId"] for _ in range(2))
        assert worker.take()["jobId"] == first
        assert caller.post(f"/jobs/{first}/cancel").json["state"] == "failed"
        assert caller.get(f"/jobs/{first}").json["inHand"]
        assert caller.post(f"/jobs/{first}/drop").status == 200
        assert worker.take()["jobId"] == second
        assert caller.post(f"/jobs/{first}/drop").status == 409
        worker.post_result(second, b"1")


def test_saved_test(tmp_path: Path) -> None:
    """A job can be saved as a test."""
    saved: list[str] = []

    def save(entry: str) -> str:
        saved.append(entry)
        return "cm.toml"

    with LocalRuntime(tmp_path, callers=CallerOptions(save_test=save)) as runtime, ManualWorker(runtime) as worker:
        caller = Caller(runtime)
        job_id = caller.post("/functions/f?wait=false", b'{"a": "\\u00e9\\n"}').json["jobId"]
        assert caller.post(f"/jobs/{job_id}/test").status == 409
        worker.take()
        worker.post_result(job_id, b"[1,\n2]")
        reply = caller.post(f"/jobs/{job_id}/test")
        assert (reply.status, reply.json["savedIn"]) == (201, "cm.toml")
    (test,) = tomllib.loads(saved[0])["tests"]
    assert test == {
        "function": "f",
        "name": "f #1",
        "query_json": '{"a": "\\u00e9\\n"}',
        "result_json": "[1,\n2]",
    }


@pytest.mark.parametrize(
    ("query", "result", "why"),
    [
        (b"1", b"\xff\xfe", "the result is not text: save it as a file"),
        (b"1", b"x" * 70_000, "query or result is over 64 KiB"),
        (b'"%s"' % (b"x" * 70_000), b"1", "query or result is over 64 KiB"),
        (b"1", None, "the job is queued, and has no result"),
    ],
)
def test_no_test(query: bytes, result: bytes | None, why: str, tmp_path: Path) -> None:
    """A job that cannot be a test is refused with the reason."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime, ManualWorker(runtime) as worker:
        caller = Caller(runtime)
        job_id = caller.post("/functions/f?wait=false", query).json["jobId"]
        if result is not None:
            worker.take()
            worker.post_result(job_id, result)
        reply = caller.post(f"/jobs/{job_id}/test")
    assert (reply.status, reply.json["error"][: len(why)]) == (409, why)


def test_lost_job(serving: LocalRuntime, caller: Caller) -> None:
    """The call of a lost job gets 502."""
    replies: list[int] = []
    calling = threading.Thread(target=lambda: replies.append(caller.post("/functions/unanswered", b"1").status))
    calling.start()
    wait(lambda: any(job.outstanding for job in serving.jobs))
    serving.worker_gone("it was killed")
    calling.join(LONG)
    assert replies == [502]


def test_end_of_the_runtime(tmp_path: Path) -> None:
    """An open call gets 503 when the runtime ends."""
    replies: list[int] = []
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime:
        caller = Caller(runtime)
        calling = threading.Thread(target=lambda: replies.append(caller.post("/functions/f", b"1").status))
        calling.start()
        wait(lambda: bool(runtime.jobs))
    calling.join(LONG)
    assert replies == [503]


def test_asynchronous_call(caller: Caller) -> None:
    """An asynchronous call returns at once."""
    reply = caller.post("/functions/echo?wait=false", b"7")
    job_id = reply.json["jobId"]
    assert (reply.status, reply.headers["location"]) == (202, f"/jobs/{job_id}")
    wait(lambda: caller.get(f"/jobs/{job_id}").json["state"] == "done")
    assert caller.get(f"/jobs/{job_id}/result").body == b"7"


@pytest.mark.parametrize("query", ["wait=perhaps", "timeout=soon", "timeout=-1", "timeout=inf"])
def test_invalid_parameter(caller: Caller, query: str) -> None:
    """An invalid parameter gets 400."""
    assert caller.post(f"/functions/echo?{query}", b"1").status == 400


# Streams


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[tuple[LocalRuntime, ManualWorker, Caller]]:
    with (
        LocalRuntime(tmp_path / "runtime", poll_wait=0.2, callers=CallerOptions()) as runtime,
        ManualWorker(runtime) as worker,
    ):
        yield runtime, worker, Caller(runtime)


def test_stream(by_hand: tuple[LocalRuntime, ManualWorker, Caller]) -> None:
    """The caller gets each part of a stream as soon as the worker sends it."""
    runtime, worker, caller = by_hand
    seen = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first "
        assert seen.wait(LONG), "the first piece did not reach the caller"
        yield b"second"

    working = threading.Thread(target=lambda: worker.post_result(worker.take()["jobId"], pieces()))
    working.start()
    with caller.open("POST", "/functions/f?timeout=0.5", b"1") as response:
        assert (response.getheader("transfer-encoding"), response.read(6)) == ("chunked", b"first ")
        with caller.open("GET", f"/jobs/{runtime.jobs[0].job_id}/result") as watching:
            assert watching.read(6) == b"first "
            seen.set()
            assert (response.read(), watching.read()) == (b"second", b"second")
    working.join(LONG)
    assert runtime.jobs[0].answer is not None
    assert runtime.jobs[0].answer.streamed


def test_aborted_stream(
    by_hand: tuple[LocalRuntime, ManualWorker, Caller],
) -> None:
    """The caller's connection is cut when the worker aborts a stream."""
    runtime, worker, caller = by_hand

    def break_off() -> None:
        job_id = worker.take()["jobId"]
        connection = worker.connection
        connection.putrequest("POST", f"/interactive-module/api/internal-query/results/{job_id}")
        connection.putheader("Module-Auth-Token", runtime.token)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"6\r\nfirst \r\n")
        assert seen.wait(LONG)
        worker.close()

    seen = threading.Event()
    working = threading.Thread(target=break_off)
    working.start()
    with caller.open("POST", "/functions/f", b"1") as response:
        assert response.read(6) == b"first "
        seen.set()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    working.join(LONG)
    assert runtime.jobs[0].outstanding


# Jobs


def test_list_of_jobs(caller: Caller) -> None:
    """Jobs are listed page by page, and the newest comes first."""
    for number in range(5):
        caller.post("/functions/echo", str(number).encode())
    first = caller.get("/jobs?limit=3").json
    assert ([job["number"] for job in first["jobs"]], first["more"]) == ([5, 4, 3], True)
    second = caller.get(f"/jobs?limit=3&before={first['jobs'][-1]['id']}").json
    assert ([job["number"] for job in second["jobs"]], second["more"]) == ([2, 1], False)


def test_selection(caller: Caller) -> None:
    """Jobs can be selected by state and by function."""
    for name in ("echo", "fail", "echo"):
        caller.post(f"/functions/{name}", b"1")
    assert [job["number"] for job in caller.get("/jobs?state=failed,lost").json["jobs"]] == [2]
    assert [job["number"] for job in caller.get("/jobs?function=echo").json["jobs"]] == [3, 1]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=some", "state=odd"])
def test_invalid_selection(caller: Caller, query: str) -> None:
    """An invalid selection gets 400."""
    assert caller.get(f"/jobs?{query}").status == 400


def test_details(serving: LocalRuntime, caller: Caller) -> None:
    """The details of a job have its query, its result and its log."""
    job_id = caller.post("/functions/echo", b'{"a": 1}').headers["x-job-id"]
    serving.record_log(job_id, "a line\n")
    wait(lambda: bool(caller.get(f"/jobs/{job_id}").json["log"]))
    job = caller.get(f"/jobs/{job_id}").json
    assert (job["query"], job["queryTruncated"], job["breachList"]) == ('{"a": 1}', False, [])
    assert [(line["line"], line["stream"]) for line in job["log"]] == [("a line", "stderr")]
    assert job["result"] == {"kind": "json", "mediaType": "application/json", "inline": True, "kept": True}
    assert caller.get(f"/jobs/{job_id}/log").json["log"] == job["log"]


def test_large_result(caller: Caller) -> None:
    """A large result is not part of the details, but can be read whole or in parts."""
    job_id = caller.post("/functions/octets", b"5000").headers["x-job-id"]
    assert caller.get(f"/jobs/{job_id}").json["result"]["inline"] is False
    whole = bytes(range(256)) * 5000
    assert caller.get(f"/jobs/{job_id}/result").body == whole
    part = caller.get(f"/jobs/{job_id}/result", Range="bytes=1000-1009")
    assert (part.status, part.body) == (206, whole[1000:1010])
    assert part.headers["content-range"] == f"bytes 1000-1009/{len(whole)}"
    assert caller.get(f"/jobs/{job_id}/result", Range="bytes=-5").body == whole[-5:]
    assert caller.get(f"/jobs/{job_id}/result", Range=f"bytes={len(whole) - 3}-").body == whole[-3:]
    assert caller.get(f"/jobs/{job_id}/result", Range=f"bytes={len(whole)}-").status == 416
    assert caller.get(f"/jobs/{job_id}/result", Range="bytes=0-1,5-6").status == 200


def test_replay(serving: LocalRuntime, caller: Caller) -> None:
    """A replay sends the same query again."""
    first = caller.post("/functions/echo", b'{"a": 1.10}')
    again = caller.post(f"/jobs/{first.headers['x-job-id']}/replay")
    assert again.body == b'{"a": 1.1}'
    assert serving.jobs[-1].query == b'{"a": 1.10}'
    assert caller.get(f"/jobs/{again.headers['x-job-id']}").json["replayOf"] == first.headers["x-job-id"]
    assert caller.post(f"/jobs/{first.headers['x-job-id']}/replay?wait=false").status == 202


@pytest.mark.parametrize("path", ["/jobs/x", "/jobs/x/result", "/jobs/x/log"])
def test_unknown_job(caller: Caller, path: str) -> None:
    """A job that does not exist is 404."""
    reply = caller.get(path)
    assert reply.status == 404
    assert reply.json["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path(caller: Caller, method: str) -> None:
    """A path that does not exist is 404 for each method, and the error names the path that calls a function."""
    reply = caller.request(method, "/call/f", b"1" if method == "POST" else None)
    assert reply.status == 404
    assert reply.json["error"] == "there is nothing at /call/f; a function is called with POST /functions/NAME"


def test_job_without_a_result(serving: LocalRuntime, caller: Caller) -> None:
    """A job without a result gets 404 for its result."""
    job_id = caller.post("/functions/unanswered?wait=false", b"1").json["jobId"]
    reply = caller.get(f"/jobs/{job_id}/result")
    assert (reply.status, "without a result" in reply.json["error"]) == (404, True)
    assert serving.jobs[0].answer is None


# State and settings


def test_state(serving: LocalRuntime, caller: Caller) -> None:
    """The state describes functions, jobs, the worker and the runtime."""
    serving.declare_functions({"echo": FunctionInfo(description="gives it back")})
    serving.report_process(ProcessState.RUNNING, pid=1, command="cm-exec run")
    serving.report_configuration("cm.toml: line 3: ...")
    caller.post("/functions/echo", b"1")
    state = caller.get("/state").json
    assert state["queue"] == {"queued": 0, "running": 0, "inHand": 0, "done": 1, "failed": 0, "lost": 0}
    assert state["worker"]["state"] == "ready"
    assert (state["worker"]["process"]["state"], state["worker"]["process"]["pid"]) == ("running", 1)
    assert state["worker"]["configurationError"] == "cm.toml: line 3: ..."
    assert state["runtime"]["maxConcurrentTasks"] == 3
    assert state["environment"] == serving.environment()
    assert state["functions"] == caller.get("/functions").json["functions"]
    assert [(f["name"], f["source"], f["description"]) for f in state["functions"]] == [
        ("echo", "declared", "gives it back")
    ]


def test_worker_log(serving: LocalRuntime, caller: Caller) -> None:
    """Lines that belong to no known job are in the worker's log."""
    serving.record_log(None, "starting", stream="log")
    serving.record_log("a job that nobody knows", "late", stream="stderr")
    wait(lambda: len(caller.get("/log").json["log"]) == 2)
    assert [line["line"] for line in caller.get("/log").json["log"]] == ["starting", "late"]


def test_faults(caller: Caller) -> None:
    """Faults can be set, and the state shows them."""
    body = json.dumps({"faults": ["result.reset@0.5", "latency=0.01"]}).encode()
    assert caller.request("PUT", "/faults", body).json == {"faults": ["result.reset@0.5", "latency=0.01"]}
    assert caller.get("/state").json["runtime"]["faults"] == ["result.reset@0.5", "latency=0.01"]
    assert caller.request("PUT", "/faults", b'{"faults": []}').json == {"faults": []}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"faults": [1]}', b'{"faults": ["rest"]}'])
def test_invalid_faults(caller: Caller, body: bytes) -> None:
    """Invalid faults change nothing."""
    caller.request("PUT", "/faults", b'{"faults": ["latency=0.01"]}')
    reply = caller.request("PUT", "/faults", body)
    assert (reply.status, bool(reply.json["error"])) == (400, True)
    assert caller.get("/state").json["runtime"]["faults"] == ["latency=0.01"]


def test_ten_thousand_queued_jobs(tmp_path: Path) -> None:
    """The API responds while ten thousand jobs are queued."""
    with LocalRuntime(tmp_path, callers=CallerOptions()) as runtime:
        caller = Caller(runtime)
        for _ in range(10_000):
            runtime.submit("f", b"1", timeout=3600)
        assert caller.get("/state").json["queue"]["queued"] == 10_000
        assert len(caller.get("/jobs?limit=1000").json["jobs"]) == 1000
