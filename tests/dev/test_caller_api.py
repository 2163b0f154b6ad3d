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

from cm_exec.local_runtime import FunctionInfo, LocalRuntime, NoResultError, ProcessState, ServiceStatus
from tests.support.caller import Caller
from tests.support.local_runtime import ManualWorker

LONG = 30.0


def wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


# Calls


def test_a_call_returns_the_result_and_tells_of_the_job(caller: Caller) -> None:
    reply = caller.post("/functions/echo", b'{"a": 1}')
    assert (reply.status, reply.body) == (200, b'{"a": 1}')
    assert reply.headers["x-job-state"] == "done"
    assert reply.headers["content-type"] == "application/json"
    assert float(reply.headers["x-job-duration-ms"]) > 0
    assert caller.get(f"/jobs/{reply.headers['x-job-id']}").json["function"] == "echo"


def test_curl_is_enough(serving: LocalRuntime, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "q.json").write_text('{"a": 1}')
    token = f"Authorization: Bearer {serving.caller_token}"
    command = ["curl", "-sf", "-H", token, "-d", "@q.json", f"{serving.url}/functions/echo"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == b'{"a": 1}'


def test_an_empty_body_is_an_empty_query(caller: Caller) -> None:
    assert caller.post("/functions/echo").body == b"{}"


def test_any_name_can_be_called(serving: LocalRuntime, caller: Caller) -> None:
    name = "com.acme/été 1%"
    assert caller.post(f"/functions/{quote(name, safe='')}?wait=false", b"1").status == 202
    assert serving.jobs[-1].function == name


ODD_QUERY = b'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\\ud83d","d":1,"d":2,"z":[ ]}'


def test_a_query_is_handed_on_byte_for_byte(serving: LocalRuntime, caller: Caller) -> None:
    reply = caller.post("/functions/unanswered?wait=false", ODD_QUERY, X_User_Id="someone")
    assert serving.jobs[-1].query == ODD_QUERY
    assert serving.jobs[-1].submission.user_id == "someone"
    assert caller.get(f"/jobs/{reply.json['jobId']}/query").body == ODD_QUERY


@pytest.mark.parametrize("body", [b"{", b"NaN", b"plain words", b"{} {}", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(serving: LocalRuntime, caller: Caller, body: bytes) -> None:
    reply = caller.post("/functions/echo", body)
    assert reply.status == 400
    assert reply.json["error"].startswith("the body is not JSON: ")
    assert serving.jobs == []


def test_a_failed_job_is_answered_with_its_error_result(caller: Caller) -> None:
    reply = caller.post("/functions/fail", b"1")
    assert (reply.status, reply.headers["x-job-state"]) == (200, "failed")
    assert reply.json["exitCode"] == 3
    assert caller.get(f"/jobs/{reply.headers['x-job-id']}").json["failure"] == {
        "message": "it ended with exit status 3",
        "reason": "exit",
        "exitCode": 3,
        "signal": None,
    }


def test_a_caller_s_time_out_is_504_with_the_job(serving: LocalRuntime, caller: Caller) -> None:
    reply = caller.post("/functions/unanswered?timeout=0.1", b"1")
    assert (reply.status, reply.json["jobId"]) == (504, serving.jobs[0].job_id)
    assert re.fullmatch(
        r"no result within the caller's 0\.1 s: the job has been running for 0\.\d s", reply.json["error"]
    )


def test_a_504_says_that_no_worker_has_polled(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0) as runtime:
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.status == 504
        assert reply.json["error"].endswith("no worker has polled yet")


def test_a_504_says_which_job_holds_the_slot(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0) as runtime, ManualWorker(runtime) as worker:
        holder = runtime.submit("slow", b"1")
        worker.take()
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.status == 504
        assert f"the only slot is held by job {holder.job_id} (slow, #1) for 0." in reply.json["error"]


def test_a_slow_function_is_not_accused_before_its_own_timeout(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0, answer_grace=0.1) as runtime, ManualWorker(runtime) as worker:
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


def test_a_failure_has_the_status_that_the_caller_wants(caller: Caller) -> None:
    """For `curl -f`, which takes 200 for success."""
    reply = caller.post("/functions/fail?fail=502", b"1")
    assert (reply.status, reply.json["exitCode"]) == (502, 3)
    assert caller.post("/functions/echo?fail=502", b"1").status == 200
    assert caller.post("/functions/fail?fail=200", b"1").status == 400


def test_a_timeout_names_the_services_that_the_worker_waits_for(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0) as runtime:
        runtime.report_service(ServiceStatus(name="model", kind="lines", state="starting", processes=1))
        runtime.report_service(ServiceStatus(name="web", kind="http", state="ready", processes=1))
        reply = Caller(runtime).post("/functions/f?timeout=0.1", b"1")
        assert reply.json["error"].endswith("no worker has polled yet; it waits for its service model")


def test_a_call_without_a_name_is_no_job(serving: LocalRuntime, caller: Caller) -> None:
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
def test_a_wrong_method_is_405_with_the_right_one(caller: Caller, method: str, path: str, allowed: str) -> None:
    reply = caller.request(method, path, b"")
    assert (reply.status, reply.headers["allow"]) == (405, allowed)


def test_a_mistyped_function_becomes_no_function(caller: Caller) -> None:
    caller.post("/functions/ecoh?timeout=0.1", b"1")
    caller.post("/functions/echo", b"1")
    assert [function["name"] for function in caller.get("/functions").json["functions"]] == ["echo"]


def test_the_identity_of_a_caller_reaches_the_worker(tmp_path: Path) -> None:
    with (
        LocalRuntime(tmp_path, caller_port=0, user_id="default", auth_header="Bearer default") as runtime,
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


def test_a_cancelled_job_keeps_its_slot_until_it_is_dropped(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0) as runtime, ManualWorker(runtime) as worker:
        caller = Caller(runtime)
        first, second = (caller.post("/functions/f?wait=false", b"1").json["jobId"] for _ in range(2))
        assert worker.take()["jobId"] == first
        assert caller.post(f"/jobs/{first}/cancel").json["state"] == "failed"
        assert caller.get(f"/jobs/{first}").json["inHand"]
        assert caller.post(f"/jobs/{first}/drop").status == 200
        assert worker.take()["jobId"] == second
        assert caller.post(f"/jobs/{first}/drop").status == 409
        worker.post_result(second, b"1")


def test_a_job_becomes_a_test(tmp_path: Path) -> None:
    saved: list[str] = []

    def save(entry: str) -> str:
        saved.append(entry)
        return "cm.toml"

    with LocalRuntime(tmp_path, caller_port=0, save_test=save) as runtime, ManualWorker(runtime) as worker:
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


def test_a_lost_job_is_502(serving: LocalRuntime, caller: Caller) -> None:
    replies: list[int] = []
    calling = threading.Thread(target=lambda: replies.append(caller.post("/functions/unanswered", b"1").status))
    calling.start()
    wait(lambda: any(job.outstanding for job in serving.jobs))
    serving.worker_gone("it was killed")
    calling.join(LONG)
    assert replies == [502]


def test_the_end_of_the_runtime_is_503(tmp_path: Path) -> None:
    replies: list[int] = []
    with LocalRuntime(tmp_path, caller_port=0) as runtime:
        caller = Caller(runtime)
        calling = threading.Thread(target=lambda: replies.append(caller.post("/functions/f", b"1").status))
        calling.start()
        wait(lambda: bool(runtime.jobs))
    calling.join(LONG)
    assert replies == [503]


def test_asynchronously_a_call_returns_at_once(caller: Caller) -> None:
    reply = caller.post("/functions/echo?wait=false", b"7")
    job_id = reply.json["jobId"]
    assert (reply.status, reply.headers["location"]) == (202, f"/jobs/{job_id}")
    wait(lambda: caller.get(f"/jobs/{job_id}").json["state"] == "done")
    assert caller.get(f"/jobs/{job_id}/result").body == b"7"


@pytest.mark.parametrize("query", ["wait=perhaps", "timeout=soon", "timeout=-1", "timeout=inf"])
def test_a_wrong_parameter_is_400(caller: Caller, query: str) -> None:
    assert caller.post(f"/functions/echo?{query}", b"1").status == 400


# Streams


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[tuple[LocalRuntime, ManualWorker, Caller]]:
    with (
        LocalRuntime(tmp_path / "runtime", poll_wait=0.2, caller_port=0) as runtime,
        ManualWorker(runtime) as worker,
    ):
        yield runtime, worker, Caller(runtime)


def test_a_stream_is_passed_on_as_it_comes(by_hand: tuple[LocalRuntime, ManualWorker, Caller]) -> None:
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


def test_a_stream_that_breaks_off_cuts_the_caller_s_connection(
    by_hand: tuple[LocalRuntime, ManualWorker, Caller],
) -> None:
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


def test_jobs_are_listed_the_newest_first_and_page_by_page(caller: Caller) -> None:
    for number in range(5):
        caller.post("/functions/echo", str(number).encode())
    first = caller.get("/jobs?limit=3").json
    assert ([job["number"] for job in first["jobs"]], first["more"]) == ([5, 4, 3], True)
    second = caller.get(f"/jobs?limit=3&before={first['jobs'][-1]['id']}").json
    assert ([job["number"] for job in second["jobs"]], second["more"]) == ([2, 1], False)


def test_jobs_are_selected_by_state_and_function(caller: Caller) -> None:
    for name in ("echo", "fail", "echo"):
        caller.post(f"/functions/{name}", b"1")
    assert [job["number"] for job in caller.get("/jobs?state=failed,lost").json["jobs"]] == [2]
    assert [job["number"] for job in caller.get("/jobs?function=echo").json["jobs"]] == [3, 1]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=some", "state=odd"])
def test_a_wrong_selection_is_400(caller: Caller, query: str) -> None:
    assert caller.get(f"/jobs?{query}").status == 400


def test_a_job_in_detail(serving: LocalRuntime, caller: Caller) -> None:
    job_id = caller.post("/functions/echo", b'{"a": 1}').headers["x-job-id"]
    serving.record_log(job_id, "a line\n")
    wait(lambda: bool(caller.get(f"/jobs/{job_id}").json["log"]))
    job = caller.get(f"/jobs/{job_id}").json
    assert (job["query"], job["queryTruncated"], job["breachList"]) == ('{"a": 1}', False, [])
    assert [(line["line"], line["stream"]) for line in job["log"]] == [("a line", "stderr")]
    assert job["result"] == {"kind": "json", "mediaType": "application/json", "inline": True, "kept": True}
    assert caller.get(f"/jobs/{job_id}/log").json["log"] == job["log"]


def test_a_large_result_is_offered_and_can_be_had_in_parts(caller: Caller) -> None:
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


def test_a_replay_sends_the_same_query_again(serving: LocalRuntime, caller: Caller) -> None:
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


def test_a_job_without_a_result_has_none_to_get(serving: LocalRuntime, caller: Caller) -> None:
    job_id = caller.post("/functions/unanswered?wait=false", b"1").json["jobId"]
    reply = caller.get(f"/jobs/{job_id}/result")
    assert (reply.status, "without a result" in reply.json["error"]) == (404, True)
    assert serving.jobs[0].answer is None


# State and settings


def test_the_state_tells_what_there_is(serving: LocalRuntime, caller: Caller) -> None:
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


def test_lines_of_no_job_are_the_worker_s_log(serving: LocalRuntime, caller: Caller) -> None:
    serving.record_log(None, "starting", stream="log")
    serving.record_log("a job that nobody knows", "late", stream="stderr")
    wait(lambda: len(caller.get("/log").json["log"]) == 2)
    assert [line["line"] for line in caller.get("/log").json["log"]] == ["starting", "late"]


def test_faults_are_set_and_told(caller: Caller) -> None:
    body = json.dumps({"faults": ["result.reset@0.5", "latency=0.01"]}).encode()
    assert caller.request("PUT", "/faults", body).json == {"faults": ["result.reset@0.5", "latency=0.01"]}
    assert caller.get("/state").json["runtime"]["faults"] == ["result.reset@0.5", "latency=0.01"]
    assert caller.request("PUT", "/faults", b'{"faults": []}').json == {"faults": []}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"faults": [1]}', b'{"faults": ["rest"]}'])
def test_wrong_faults_change_nothing(caller: Caller, body: bytes) -> None:
    caller.request("PUT", "/faults", b'{"faults": ["latency=0.01"]}')
    reply = caller.request("PUT", "/faults", body)
    assert (reply.status, bool(reply.json["error"])) == (400, True)
    assert caller.get("/state").json["runtime"]["faults"] == ["latency=0.01"]


def test_ten_thousand_queued_jobs_are_no_trouble(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, caller_port=0) as runtime:
        caller = Caller(runtime)
        for _ in range(10_000):
            runtime.submit("f", b"1", timeout=3600)
        assert caller.get("/state").json["queue"]["queued"] == 10_000
        assert len(caller.get("/jobs?limit=1000").json["jobs"]) == 1000
