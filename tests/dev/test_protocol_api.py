"""The requests of the protocol over real TLS."""

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

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import NoResultError
from cm_exec.local_runtime.core import State
from cm_exec.local_runtime.core.faults import Fault, FaultKind, ProtocolEndpoint
from cm_exec.local_runtime.core.worker_status import ViolationKind
from cm_exec.local_runtime.views import CallerOptions
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


def test_query_bytes(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A query reaches the worker byte for byte."""
    call = runtime.submit("double", ODD_QUERY, user_id="someone", auth_header="Bearer x")
    answer = worker.poll()
    assert answer.status == 200
    assert b'"query":' + ODD_QUERY + b"," in answer.body
    job = json.loads(answer.body)["computeModuleJobV1"]
    assert (job["jobId"], job["queryType"]) == (call.job_id, "double")
    assert (job["userId"], job["authHeader"]) == ("someone", "Bearer x")


@pytest.mark.parametrize("size", [0, 1, 300_000, 5_000_000])
def test_result_bytes(runtime: LocalRuntime, worker: ManualWorker, size: int) -> None:
    """A result reaches the caller byte for byte."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    call = runtime.submit("f", b"1")
    assert worker.post_result(worker.take()["jobId"], body).status == 204
    assert call.wait(LONG).body == body


def test_idle_poll(worker: ManualWorker) -> None:
    """A poll without a job stays open for a while, then gets 204."""
    began = time.monotonic()
    assert worker.poll().status == 204
    assert time.monotonic() - began >= 0.2


def test_job_for_an_open_poll(tmp_path: Path) -> None:
    """A new job ends an open poll."""
    with LocalRuntime(tmp_path, poll_wait=3600) as runtime, ManualWorker(runtime) as worker:

        def submit_when_polled() -> None:
            runtime.wait_for_poll(LONG)
            runtime.submit("f", b"1")

        submitting = threading.Thread(target=submit_when_polled)
        submitting.start()
        assert worker.poll().status == 200
        submitting.join(LONG)


def test_limit(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """No more jobs are outstanding than the limit allows."""
    for _ in range(3):
        runtime.submit("f", b"1")
    first = worker.take()["jobId"]
    worker.take()
    assert worker.poll().status == 204
    worker.post_result(first, b"1")
    assert worker.poll().status == 200


def test_order(tmp_path: Path) -> None:
    """Jobs are sent in order of arrival."""
    with LocalRuntime(tmp_path, max_concurrent_tasks=100) as runtime, ManualWorker(runtime) as worker:
        ids = [runtime.submit("f", b"1").job_id for _ in range(100)]
        assert [worker.take()["jobId"] for _ in range(100)] == ids


@pytest.mark.parametrize("path", ["job", "results/x", "schemas", "restart-notify"])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_missing_token(runtime: LocalRuntime, path: str, token: str) -> None:
    """A request without the right token gets 401."""
    with ManualWorker(runtime, token=token) as stranger:
        method = "GET" if path == "job" else "POST"
        assert stranger.request(method, f"/interactive-module/api/internal-query/{path}").status == 401
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNAUTHORIZED]


def test_rotated_token(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A rotated token is in the file, and the old one is refused."""
    new = runtime.rotate_token()
    assert Path(runtime.environment()["MODULE_AUTH_TOKEN"]).read_text() == new
    assert worker.poll().status == 401
    worker.token = new
    assert worker.poll().status == 204


def test_unknown_job(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A result for an unknown job gets 404 and a reason."""
    answer = worker.post_result("never-heard-of", b"1")
    assert (answer.status, b"no job with this id was handed out" in answer.body) == (404, True)
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNKNOWN_JOB]


@pytest.mark.parametrize("chunked", [False, True])
def test_result_over_the_limit(tmp_path: Path, chunked: bool) -> None:
    """A result over the limit gets 413, and its job stays outstanding."""
    with LocalRuntime(tmp_path, max_result=1000) as runtime, ManualWorker(runtime) as worker:
        call = runtime.submit("f", b"1")
        job_id = worker.take()["jobId"]
        assert worker.post_result(job_id, iter([b"x" * 600] * 2) if chunked else b"x" * 1001).status == 413
        assert not call.done
        assert worker.post_result(job_id, b"x" * 1000).status == 204
        assert call.wait(LONG).body == b"x" * 1000


def test_restart(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A restart drops the outstanding jobs."""
    taken, waiting = runtime.submit("f", b"1"), runtime.submit("f", b"2")
    worker.take()
    answer = worker.notify_restart()
    assert (answer.status, json.loads(answer.body)) == (200, [taken.job_id])
    with pytest.raises(NoResultError, match="lost"):
        taken.wait(LONG)
    assert worker.post_result(taken.job_id, b"1").status == 404
    assert worker.take()["jobId"] == waiting.job_id
    assert [restart.dropped for restart in runtime.restarts] == [(taken.job_id,)]


def test_schemas(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """The runtime keeps the schemas that a worker posts."""
    assert worker.post_schemas(b'[{"functionName":"f"}]').status == 204
    assert runtime.schemas == [b'[{"functionName":"f"}]']


def test_disconnected_poll(tmp_path: Path) -> None:
    """A job goes back to the queue if the poll's connection is closed."""
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


def test_partial_delivery(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A large job goes back to the queue if its reader leaves before the end."""
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


def test_late_result(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A timeout of the caller fails the job, and a late result is a protocol violation."""
    call = runtime.submit("f", b"1", timeout=0.1)
    job_id = worker.take()["jobId"]
    assert call.wait_ended(LONG).state is State.FAILED
    assert worker.post_result(job_id, b"1").status == 204
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.LATE]


def test_second_result(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A second result changes nothing, and is a protocol violation."""
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
def test_aborted_body(runtime: LocalRuntime, worker: ManualWorker, repetition: bytes) -> None:
    """A body that breaks off is no result, and the worker may post it again."""
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    post_half(runtime, job_id)
    assert not call.done
    assert worker.post_result(job_id, repetition).status == 204
    assert call.wait(LONG).body == repetition
    assert runtime.violations == []


def test_shorter_repetition(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A repeated result that is shorter than the aborted one is a protocol violation."""
    runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    post_half(runtime, job_id)
    worker.post_result(job_id, b"")
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.TRUNCATED]


@pytest.mark.parametrize("fault", ["result.lost*1", "result.500*1"])
def test_repetition(runtime: LocalRuntime, worker: ManualWorker, fault: str) -> None:
    """A repeated result is no protocol violation if the worker did not get the response to the first one."""
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    runtime.set_faults(fault)
    with contextlib.suppress(ConnectionResetError):
        worker.post_result(job_id, b"1")
    worker.close()
    assert worker.post_result(job_id, b"1").status == 204
    assert call.wait(LONG).body == b"1"
    assert runtime.violations == []


def test_pause(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A paused runtime refuses connections, and still has its jobs afterwards."""
    call = runtime.submit("f", b"1")
    runtime.pause()
    with pytest.raises(ConnectionRefusedError):
        worker.poll()
    runtime.resume()
    worker.close()
    assert worker.take()["jobId"] == call.job_id


def test_scripted_response(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A scripted response is sent unchanged."""
    call = runtime.answer_next_poll_with(b'{"computeModuleJobV1":{"jobId":"j"}}', expect="j")
    assert worker.poll().body == b'{"computeModuleJobV1":{"jobId":"j"}}'
    worker.post_result("j", b"ok")
    assert call.wait(LONG).body == b"ok"


def test_injected_status(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """An injected status is sent as often as the rule says."""
    runtime.inject(Fault(kind=FaultKind.STATUS, endpoint=ProtocolEndpoint.POLL, status=503, remaining=2))
    assert [worker.poll().status for _ in range(3)] == [503, 503, 204]
    assert runtime.count(ProtocolEndpoint.POLL, 503) == 2


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.DROP])
def test_injected_disconnect(runtime: LocalRuntime, worker: ManualWorker, kind: FaultKind) -> None:
    """An injected fault closes the connection."""
    runtime.inject(Fault(kind=kind, endpoint=ProtocolEndpoint.POLL, remaining=1))
    expected = ConnectionResetError if kind is FaultKind.RESET else http.client.RemoteDisconnected
    with pytest.raises(expected):
        worker.poll()
    worker.close()
    assert worker.poll().status == 204


def test_injected_reset(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A job whose delivery is reset goes back to the queue."""
    call = runtime.submit("f", b'"a query that is long enough"')
    runtime.inject(Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.POLL, remaining=1, after_bytes=10))
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        worker.poll()
    worker.close()
    assert worker.take()["jobId"] == call.job_id


def test_lost_response(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A fault can store a result and lose the response to it."""
    call = runtime.submit("f", b"1")
    runtime.inject(Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT, remaining=1, processed=True))
    with pytest.raises(ConnectionResetError):
        worker.post_result(worker.take()["jobId"], b"42")
    assert call.wait(LONG).body == b"42"


def test_injected_hang(tmp_path: Path) -> None:
    """A request that hangs ends with the runtime."""
    with LocalRuntime(tmp_path) as runtime, ManualWorker(runtime) as worker:
        runtime.inject(Fault(kind=FaultKind.HANG, endpoint=ProtocolEndpoint.POLL))
        worker.connection.timeout = 0.2
        with pytest.raises(TimeoutError):
            worker.poll()


def test_injected_delay(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A delayed request is served nevertheless."""
    runtime.inject(Fault(kind=FaultKind.LATENCY, seconds=0.3, remaining=1))
    call = runtime.submit("f", b"1")
    began = time.monotonic()
    assert worker.take()["jobId"] == call.job_id
    assert time.monotonic() - began >= 0.3


def test_injected_cut(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """A fault cuts a posted result after a number of bytes."""
    call = runtime.submit("f", b"1")
    job_id = worker.take()["jobId"]
    runtime.set_faults("result.cut=1000*1")
    with pytest.raises((ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)):
        worker.post_result(job_id, b"x" * 5_000_000)
    worker.close()
    assert not call.done
    assert worker.post_result(job_id, b"x").status == 204


def test_cleared_faults(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """Cleared faults have no effect."""
    runtime.set_faults("500")
    assert worker.poll().status == 500
    runtime.set_faults()
    assert worker.poll().status == 204


def test_silence(tmp_path: Path) -> None:
    """A worker that stops polling commits a protocol violation, unless its end is known."""
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


def test_repeated_refusal(runtime: LocalRuntime) -> None:
    """A worker that is always refused adds one protocol violation, not many."""
    with ManualWorker(runtime, token="wrong") as stranger:
        assert {stranger.poll().status for _ in range(50)} == {401}
    assert len(runtime.violations) == 1


def test_no_strict_limit(tmp_path: Path) -> None:
    """A runtime that is not strict announces its limit, but does not enforce it."""
    with LocalRuntime(tmp_path, max_concurrent_tasks=1, strict=False) as runtime, ManualWorker(runtime) as worker:
        assert runtime.environment()["MAX_CONCURRENT_TASKS"] == "1"
        ids = {runtime.submit("f", b"1").job_id for _ in range(3)}
        assert {worker.take()["jobId"] for _ in range(3)} == ids


def test_late_listening(tmp_path: Path) -> None:
    """A runtime refuses connections before it listens."""
    with LocalRuntime(tmp_path, poll_wait=0.1, listen=False) as runtime, ManualWorker(runtime) as worker:
        with pytest.raises(ConnectionRefusedError):
            worker.poll()
        worker.close()
        runtime.resume()
        assert worker.poll().status == 204


def test_used_port(tmp_path: Path) -> None:
    """A port in use raises an error, and leaves nothing behind."""
    with LocalRuntime(tmp_path / "first", callers=CallerOptions()) as runtime:
        with pytest.raises(OSError, match="in use"):
            LocalRuntime(tmp_path / "second", port=runtime.port)
        with pytest.raises(OSError, match="in use"):
            LocalRuntime(tmp_path / "second", callers=CallerOptions(port=urlsplit(runtime.callers.url).port or 0))


def test_wrong_authority(runtime: LocalRuntime, tmp_path: Path) -> None:
    """The worker refuses the certificate of another authority."""
    with LocalRuntime(tmp_path / "other") as other, ManualWorker(other) as worker:
        worker.connection.port = runtime.port
        with pytest.raises(ssl.SSLCertVerificationError):
            worker.poll()
    assert runtime.requests == []


def test_end(tmp_path: Path) -> None:
    """The callers learn of the end of the runtime, and the outstanding jobs are reported."""
    with LocalRuntime(tmp_path) as runtime, ManualWorker(runtime) as worker:
        call = runtime.submit("f", b"1")
        worker.take()
    with pytest.raises(NoResultError):
        call.wait(0)
    assert [violation.kind for violation in runtime.violations] == [ViolationKind.UNANSWERED]


def test_end_with_an_open_poll(tmp_path: Path) -> None:
    """An open poll gets a response at the end, and no thread remains."""
    statuses: list[int] = []
    with LocalRuntime(tmp_path, poll_wait=3600) as runtime, ManualWorker(runtime) as worker:
        polling = threading.Thread(target=lambda: statuses.append(worker.poll().status))
        polling.start()
        runtime.wait_for_poll(LONG)
        runtime.stop()
        polling.join(LONG)
    assert statuses == [204]
    assert "local-runtime" not in {thread.name for thread in threading.enumerate()}


def test_ten_thousand_queued_jobs(runtime: LocalRuntime, worker: ManualWorker) -> None:
    """The runtime serves jobs while ten thousand are queued."""
    calls = [runtime.submit("f", b"1", timeout=3600) for _ in range(10_000)]
    for call in calls[:50]:
        assert worker.take()["jobId"] == call.job_id
        worker.post_result(call.job_id, b"1")
    assert calls[49].wait(LONG).body == b"1"
