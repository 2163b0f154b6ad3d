"""The protocol's requests over real TLS, one promise a test."""

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cm_exec.local_runtime import Fault, FaultKind, LocalRuntime, NoResultError, ProtocolEndpoint, State, ViolationKind
from tests.support.local_runtime import ManualWorker

LONG = 30.0


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=2, poll_wait=0.2) as running:
        yield running


@pytest.fixture
def worker(runtime: LocalRuntime) -> Iterator[ManualWorker]:
    with ManualWorker(runtime) as by_hand:
        yield by_hand


ODD_QUERY = b'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\\u00e9\\/","d":1,"d":2,"z":[ ]}'


def test_a_query_goes_out_byte_for_byte(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("double", ODD_QUERY, user_id="someone", auth_header="Bearer x")
    answer = worker.poll()
    assert answer.status == 200
    assert b'"query":' + ODD_QUERY + b"," in answer.body
    job = json.loads(answer.body)["computeModuleJobV1"]
    assert (job["jobId"], job["queryType"]) == (call.job_id, "double")
    assert (job["userId"], job["authHeader"]) == ("someone", "Bearer x")


@pytest.mark.parametrize("size", [0, 1, 300_000, 5_000_000])
def test_a_result_comes_back_byte_for_byte(runtime: LocalRuntime, worker: ManualWorker, size: int) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    call = runtime.submit("f", b"1")
    assert worker.post_result(worker.take()["jobId"], body).status == 204
    assert call.wait(LONG).body == body


def test_an_idle_poll_is_held_and_then_answered_204(worker: ManualWorker) -> None:
    began = time.monotonic()
    assert worker.poll().status == 204
    assert time.monotonic() - began >= 0.2


def test_a_job_ends_an_open_poll(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, poll_wait=3600) as runtime, ManualWorker(runtime) as worker:

        def submit_when_polled() -> None:
            runtime.wait_for_poll(LONG)
            runtime.submit("f", b"1")

        submitting = threading.Thread(target=submit_when_polled)
        submitting.start()
        assert worker.poll().status == 200
        submitting.join(LONG)


def test_no_more_jobs_are_out_than_the_limit(runtime: LocalRuntime, worker: ManualWorker) -> None:
    for _ in range(3):
        runtime.submit("f", b"1")
    first = worker.take()["jobId"]
    worker.take()
    assert worker.poll().status == 204
    worker.post_result(first, b"1")
    assert worker.poll().status == 200


def test_jobs_go_out_in_order(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, max_concurrent_tasks=100) as runtime, ManualWorker(runtime) as worker:
        ids = [runtime.submit("f", b"1").job_id for _ in range(100)]
        assert [worker.take()["jobId"] for _ in range(100)] == ids


@pytest.mark.parametrize("path", ["job", "results/x", "schemas", "restart-notify"])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_nothing_is_told_without_the_token(runtime: LocalRuntime, path: str, token: str) -> None:
    with ManualWorker(runtime, token=token) as stranger:
        method = "GET" if path == "job" else "POST"
        assert stranger.request(method, f"/interactive-module/api/internal-query/{path}").status == 401
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNAUTHORIZED]


def test_a_rotated_token_is_in_the_file_and_the_old_one_is_refused(runtime: LocalRuntime, worker: ManualWorker) -> None:
    new = runtime.rotate_token()
    assert Path(runtime.environment()["MODULE_AUTH_TOKEN"]).read_text() == new
    assert worker.poll().status == 401
    worker.token = new
    assert worker.poll().status == 204


def test_a_result_for_an_unknown_job_is_404(runtime: LocalRuntime, worker: ManualWorker) -> None:
    assert worker.post_result("never-heard-of", b"1").status == 404
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNKNOWN_JOB]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_result_over_the_limit_is_413_and_the_job_stays_out(tmp_path: Path, chunked: bool) -> None:
    with LocalRuntime(tmp_path, max_result=1000) as runtime, ManualWorker(runtime) as worker:
        call = runtime.submit("f", b"1")
        job_id = worker.take()["jobId"]
        assert worker.post_result(job_id, iter([b"x" * 600] * 2) if chunked else b"x" * 1001).status == 413
        assert not call.done
        assert worker.post_result(job_id, b"x" * 1000).status == 204
        assert call.wait(LONG).body == b"x" * 1000


def test_a_restart_drops_the_jobs_in_hand(runtime: LocalRuntime, worker: ManualWorker) -> None:
    taken, waiting = runtime.submit("f", b"1"), runtime.submit("f", b"2")
    worker.take()
    answer = worker.notify_restart()
    assert (answer.status, json.loads(answer.body)) == (200, [taken.job_id])
    with pytest.raises(NoResultError, match="lost"):
        taken.wait(LONG)
    assert worker.post_result(taken.job_id, b"1").status == 404
    assert worker.take()["jobId"] == waiting.job_id
    assert [restart.dropped for restart in runtime.restarts] == [(taken.job_id,)]


def test_schemas_are_kept(runtime: LocalRuntime, worker: ManualWorker) -> None:
    assert worker.post_schemas(b'[{"functionName":"f"}]').status == 204
    assert runtime.schemas == [b'[{"functionName":"f"}]']


def test_a_job_goes_back_when_the_poll_is_gone(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, poll_wait=3600) as runtime, ManualWorker(runtime) as worker:
        with ManualWorker(runtime) as gone:
            gone.connection.request(
                "GET", "/interactive-module/api/internal-query/job", headers={"Module-Auth-Token": runtime.token}
            )
            runtime.wait_for_poll(LONG)
        while runtime.open_polls:
            time.sleep(0.005)
        call = runtime.submit("f", b"1")
        assert worker.take()["jobId"] == call.job_id


def test_a_large_job_whose_reader_leaves_midway_goes_back(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b'"' + b"x" * 20_000_000 + b'"')
    with ManualWorker(runtime) as gone:
        gone.connection.request(
            "GET", "/interactive-module/api/internal-query/job", headers={"Module-Auth-Token": runtime.token}
        )
        assert gone.connection.sock is not None
        assert gone.connection.sock.recv(10)
        gone.connection.sock.close()
    assert worker.take()["jobId"] == call.job_id
    assert runtime.jobs[0].attempts == 2


def test_a_callers_time_out_fails_the_job_and_a_late_result_is_a_breach(
    runtime: LocalRuntime, worker: ManualWorker
) -> None:
    call = runtime.submit("f", b"1", timeout=0.1)
    job_id = worker.take()["jobId"]
    assert call.wait_ended(LONG).state is State.FAILED
    assert worker.post_result(job_id, b"1").status == 204
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.LATE]


def test_a_second_result_changes_nothing_and_is_a_breach(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    worker.post_result(job_id, b"first")
    assert worker.post_result(job_id, b"second").status == 204
    assert call.wait(LONG).body == b"first"
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.ANSWERED_TWICE]


def post_half(runtime: LocalRuntime, job_id: str) -> None:
    """Post a result that breaks off after 4 bytes, and wait until the runtime knows."""
    known = len(runtime.log(job_id))
    with ManualWorker(runtime) as breaks_off:
        breaks_off.connection.putrequest("POST", f"/interactive-module/api/internal-query/results/{job_id}")
        breaks_off.connection.putheader("Module-Auth-Token", runtime.token)
        breaks_off.connection.putheader("Content-Length", "100")
        breaks_off.connection.endheaders(b"half")
    while len(runtime.log(job_id)) == known:
        time.sleep(0.005)


@pytest.mark.parametrize("repetition", [b"half and the rest", b'{"error": "it failed midway"}'])
def test_a_body_that_breaks_off_is_no_result_and_may_be_repeated(
    runtime: LocalRuntime, worker: ManualWorker, repetition: bytes
) -> None:
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    post_half(runtime, job_id)
    assert not call.done
    assert worker.post_result(job_id, repetition).status == 204
    assert call.wait(LONG).body == repetition
    assert runtime.violations == []


def test_a_repetition_with_less_than_had_come_is_a_breach(runtime: LocalRuntime, worker: ManualWorker) -> None:
    runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    post_half(runtime, job_id)
    worker.post_result(job_id, b"")
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.TRUNCATED]


@pytest.mark.parametrize("fault", ["result.lost*1", "result.500*1"])
def test_a_repetition_is_no_breach_when_the_answer_was_lost(
    runtime: LocalRuntime, worker: ManualWorker, fault: str
) -> None:
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    runtime.set_faults(fault)
    with contextlib.suppress(ConnectionResetError):
        worker.post_result(job_id, b"1")
    worker.close()
    assert worker.post_result(job_id, b"1").status == 204
    assert call.wait(LONG).body == b"1"
    assert runtime.violations == []


def test_down_means_refused_and_up_again_the_jobs_are_still_there(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b"1")
    runtime.pause()
    with pytest.raises(ConnectionRefusedError):
        worker.poll()
    runtime.resume()
    worker.close()
    assert worker.take()["jobId"] == call.job_id


def test_what_is_scripted_goes_out_as_it_stands(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.answer_next_poll_with(b'{"computeModuleJobV1":{"jobId":"j"}}', expect="j")
    assert worker.poll().body == b'{"computeModuleJobV1":{"jobId":"j"}}'
    worker.post_result("j", b"ok")
    assert call.wait(LONG).body == b"ok"


def test_a_status_on_purpose_comes_as_often_as_asked(runtime: LocalRuntime, worker: ManualWorker) -> None:
    runtime.inject(Fault(kind=FaultKind.STATUS, endpoint=ProtocolEndpoint.POLL, status=503, remaining=2))
    assert [worker.poll().status for _ in range(3)] == [503, 503, 204]
    assert runtime.count(ProtocolEndpoint.POLL, 503) == 2


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.DROP])
def test_a_connection_is_broken_on_purpose(runtime: LocalRuntime, worker: ManualWorker, kind: FaultKind) -> None:
    runtime.inject(Fault(kind=kind, endpoint=ProtocolEndpoint.POLL, remaining=1))
    expected = ConnectionResetError if kind is FaultKind.RESET else http.client.RemoteDisconnected
    with pytest.raises(expected):
        worker.poll()
    worker.close()
    assert worker.poll().status == 204


def test_a_job_cut_by_a_reset_goes_back(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b'"a query that is long enough"')
    runtime.inject(Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.POLL, remaining=1, after_bytes=10))
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        worker.poll()
    worker.close()
    assert worker.take()["jobId"] == call.job_id


def test_a_result_may_be_stored_and_its_answer_lost(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b"1")
    runtime.inject(Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT, remaining=1, processed=True))
    with pytest.raises(ConnectionResetError):
        worker.post_result(worker.take()["jobId"], b"42")
    assert call.wait(LONG).body == b"42"


def test_a_hanging_request_ends_with_the_runtime(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path) as runtime, ManualWorker(runtime) as worker:
        runtime.inject(Fault(kind=FaultKind.HANG, endpoint=ProtocolEndpoint.POLL))
        worker.connection.timeout = 0.2
        with pytest.raises(TimeoutError):
            worker.poll()


def test_a_delayed_request_is_served_all_the_same(runtime: LocalRuntime, worker: ManualWorker) -> None:
    runtime.inject(Fault(kind=FaultKind.LATENCY, seconds=0.3, remaining=1))
    call = runtime.submit("f", b"1")
    began = time.monotonic()
    assert worker.take()["jobId"] == call.job_id
    assert time.monotonic() - began >= 0.3


def test_a_posted_result_is_cut_after_so_many_bytes(runtime: LocalRuntime, worker: ManualWorker) -> None:
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    runtime.set_faults("result.cut=1000*1")
    with pytest.raises((ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)):
        worker.post_result(job_id, b"x" * 5_000_000)
    worker.close()
    assert not call.done
    assert worker.post_result(job_id, b"x").status == 204


def test_faults_are_cleared(runtime: LocalRuntime, worker: ManualWorker) -> None:
    runtime.set_faults("500")
    assert worker.poll().status == 500
    runtime.set_faults()
    assert worker.poll().status == 204


def test_polls_that_stop_are_a_breach_and_a_worker_known_to_be_gone_is_none(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, poll_wait=0.1, poll_timeout=0.2) as runtime, ManualWorker(runtime) as worker:
        worker.poll()
        runtime.worker_gone()
        time.sleep(0.4)
        assert runtime.violations == []
        worker.poll()
        deadline = time.monotonic() + LONG
        while not runtime.violations and time.monotonic() < deadline:
            time.sleep(0.01)
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.POLLS_STOPPED]


def test_a_worker_that_is_refused_for_ever_does_not_flood_the_breaches(runtime: LocalRuntime) -> None:
    with ManualWorker(runtime, token="wrong") as stranger:
        assert {stranger.poll().status for _ in range(50)} == {401}
    assert len(runtime.violations) == 1


def test_what_is_only_told_and_not_kept(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, max_concurrent_tasks=1, strict=False) as runtime, ManualWorker(runtime) as worker:
        assert runtime.environment()["MAX_CONCURRENT_TASKS"] == "1"
        ids = {runtime.submit("f", b"1").job_id for _ in range(3)}
        assert {worker.take()["jobId"] for _ in range(3)} == ids


def test_before_it_listens_connections_are_refused(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path, poll_wait=0.1, listen=False) as runtime, ManualWorker(runtime) as worker:
        with pytest.raises(ConnectionRefusedError):
            worker.poll()
        worker.close()
        runtime.resume()
        assert worker.poll().status == 204


def test_a_port_that_is_taken_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path / "first", caller_port=0) as runtime:
        with pytest.raises(OSError, match="in use"):
            LocalRuntime(tmp_path / "second", port=runtime.port)
        with pytest.raises(OSError, match="in use"):
            LocalRuntime(tmp_path / "second", caller_port=urlsplit(runtime.url).port)


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/results/x"), ("PUT", "/x")])
def test_what_the_protocol_does_not_have_is_404(worker: ManualWorker, method: str, path: str) -> None:
    assert worker.request(method, path).status == 404


def test_another_authority_s_certificate_is_refused_by_the_worker(runtime: LocalRuntime, tmp_path: Path) -> None:
    with LocalRuntime(tmp_path / "other") as other, ManualWorker(other) as worker:
        worker.connection.port = runtime.port
        with pytest.raises(ssl.SSLCertVerificationError):
            worker.poll()
    assert runtime.requests == []


def test_the_end_of_the_runtime_tells_the_callers_and_reports_what_is_out(tmp_path: Path) -> None:
    with LocalRuntime(tmp_path) as runtime, ManualWorker(runtime) as worker:
        call = runtime.submit("f", b"1")
        worker.take()
    with pytest.raises(NoResultError):
        call.wait(0)
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNANSWERED]


def test_the_end_answers_an_open_poll_and_leaves_no_thread(tmp_path: Path) -> None:
    statuses: list[int] = []
    with LocalRuntime(tmp_path, poll_wait=3600) as runtime, ManualWorker(runtime) as worker:
        polling = threading.Thread(target=lambda: statuses.append(worker.poll().status))
        polling.start()
        runtime.wait_for_poll(LONG)
        runtime.stop()
        polling.join(LONG)
    assert statuses == [204]
    assert "local-runtime" not in {thread.name for thread in threading.enumerate()}


def test_ten_thousand_jobs_wait_without_trouble(runtime: LocalRuntime, worker: ManualWorker) -> None:
    calls = [runtime.submit("f", b"1", timeout=3600) for _ in range(10_000)]
    for call in calls[:50]:
        assert worker.take()["jobId"] == call.job_id
        worker.post_result(call.job_id, b"1")
    assert calls[49].wait(LONG).body == b"1"
