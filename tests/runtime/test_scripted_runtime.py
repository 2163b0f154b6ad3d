"""The harness of the end-to-end tests, tried with a plain client: what it breaks is broken as it says."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection

import pytest

from tests.support import responses
from tests.support.certificates import Authority
from tests.support.request_log import Endpoint
from tests.support.scripted_runtime import API, TOKEN, ScriptedRuntime

JOB = f"{API}/job"
Connect = Callable[[], HTTPSConnection]
Answer = tuple[int, bytes]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def runtime(authority: Authority) -> Iterator[ScriptedRuntime]:
    with ScriptedRuntime(authority.good()) as running:
        running.poll_seconds = 0.05
        yield running


@pytest.fixture
def connect(runtime: ScriptedRuntime, authority: Authority) -> Iterator[Connect]:
    opened: list[HTTPSConnection] = []

    def connect() -> HTTPSConnection:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        opened.append(HTTPSConnection("localhost", runtime.port, context=context, timeout=30))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def ask(connection: HTTPSConnection, method: str, path: str, body: bytes | None = None, token: str = TOKEN) -> Answer:
    connection.request(method, path, body, {"Module-Auth-Token": token})
    answer = connection.getresponse()
    return answer.status, answer.read()


def post(connection: HTTPSConnection, job_id: str, body: bytes) -> Answer:
    return ask(connection, "POST", f"{API}/results/{job_id}", body)


def once_polled(runtime: ScriptedRuntime, act: Callable[[], object]) -> None:
    def wait_and_act() -> None:
        runtime.wait_for_poll()
        act()

    threading.Thread(target=wait_and_act).start()


def test_long_poll(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A poll without a job is answered with 204 after its time."""
    runtime.poll_seconds = 0.2
    start = time.monotonic()
    assert ask(connect(), "GET", JOB) == (204, b"")
    assert time.monotonic() - start >= 0.2


def test_job(runtime: ScriptedRuntime, connect: Connect) -> None:
    """The open poll gets a job byte for byte."""
    runtime.poll_seconds = 30
    query = b'{"b":1.10,"e":1E400,"d":1,"d":2,"z":[ ]}'
    once_polled(runtime, lambda: runtime.jobs.submit(query, "f", job_id="j"))
    status, body = ask(connect(), "GET", JOB)
    assert status == 200
    assert body.endswith(b',"query":' + query + b"}}")
    assert json.loads(body)["computeModuleJobV1"]["jobId"] == "j"


def test_result(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A result is recorded with its headers and exact bytes."""
    job_id = runtime.submit("f")
    assert post(connect(), job_id, b"\x00\xff")[0] == 204
    result = runtime.result(job_id)
    assert (bytes(result.body), result.head.header("content-length")) == (b"\x00\xff", "2")


def test_a_chunked_result_is_put_together(runtime: ScriptedRuntime, connect: Connect) -> None:
    job_id = runtime.submit("f")
    connection = connect()
    connection.request(
        "POST",
        f"{API}/results/{job_id}",
        iter([b"ab", b"c"]),
        {"Module-Auth-Token": runtime.token},
        encode_chunked=True,
    )
    assert connection.getresponse().status == 204
    assert bytes(runtime.result(job_id).body) == b"abc"


def test_unknown_job_and_wrong_token(runtime: ScriptedRuntime, connect: Connect) -> None:
    """An unknown job is answered with 404, and a wrong token with 401."""
    connection = connect()
    assert post(connection, "nobody", b"x")[0] == 404
    assert ask(connection, "GET", JOB, token="wrong")[0] == 401
    runtime.rotate_token("next")
    assert ask(connection, "GET", JOB)[0] == 401
    assert ask(connection, "GET", JOB, token="next")[0] == 204
    assert runtime.request_log.connections == 1


def test_schema_and_restart_answer_as_documented(connect: Connect) -> None:
    assert ask(connect(), "POST", f"{API}/schemas", b"[]") == (204, b"")
    assert ask(connect(), "POST", f"{API}/restart-notify") == (200, b"[]")


def test_scripted_responses(runtime: ScriptedRuntime, connect: Connect) -> None:
    """Scripted responses come first, and the permanent one afterwards."""
    runtime.script(Endpoint.JOB, responses.answer(500, b"oops"), responses.answer(429))
    runtime.always(Endpoint.JOB, responses.answer(418, b"tea"))
    connection = connect()
    assert [ask(connection, "GET", JOB) for _ in range(3)] == [(500, b"oops"), (429, b""), (418, b"tea")]


def test_resets_reach_the_client_as_resets(runtime: ScriptedRuntime, connect: Connect) -> None:
    job_id = runtime.submit("f")
    runtime.script(Endpoint.RESULT, responses.reset_before_response, responses.accept_then_reset)
    for _ in range(2):
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected, ssl.SSLError)):
            post(connect(), job_id, b"x")
    assert [(p.complete, p.status) for p in runtime.posts(job_id)] == [(True, None), (True, 204)]


def test_reset_within_a_request(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A reset within a request leaves it incomplete."""
    job_id = runtime.submit("f")
    runtime.script(Endpoint.RESULT, responses.reset_within_request(1000))
    with pytest.raises((OSError, http.client.HTTPException)):
        post(connect(), job_id, b"x" * 30_000_000)
    (recorded,) = runtime.posts(job_id)
    assert (recorded.complete, recorded.size) == (False, 1000)


def test_lost_job(runtime: ScriptedRuntime, connect: Connect) -> None:
    """The response with a lost job is truncated, and the job can be delivered again."""
    runtime.script(Endpoint.JOB, responses.lose_job)
    runtime.submit("f", b'"query"', job_id="j")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(connect(), "GET", JOB)
    runtime.submit("f", b'"query"', job_id="j")
    assert ask(connect(), "GET", JOB)[1].endswith(b'"query"}}')


def test_garbage_and_partial_answers_are_no_http(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, responses.garbage, responses.reset_within_response(b"0123456789", sent=4))
    with pytest.raises(http.client.HTTPException):
        ask(connect(), "GET", JOB)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(connect(), "GET", JOB)


def test_a_hang_lasts_until_the_client_leaves(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, responses.hang)
    connection = connect()
    connection.request("GET", JOB, headers={"Module-Auth-Token": runtime.token})
    runtime.wait_for_poll()
    assert runtime.request_log.open_polls() == 1
    connection.close()
    runtime.request_log.wait_for(lambda: runtime.request_log.all()[0].gone_at, what="giving up")
    assert runtime.request_log.open_polls() == 0


def test_a_drip_arrives_whole(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, responses.drip(0.001))
    runtime.submit("f", b"[1,2]")
    assert ask(connect(), "GET", JOB)[1].endswith(b"[1,2]}}")


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_is_closed_after_the_answer(runtime: ScriptedRuntime, connect: Connect, announced: bool) -> None:
    runtime.script(Endpoint.JOB, responses.then_close(responses.answer(200, b"{}"), announced=announced))
    connection = connect()
    connection.request("GET", JOB, headers={"Module-Auth-Token": runtime.token})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"{}")
    assert answer.will_close is announced
    runtime.request_log.wait_for(lambda: not runtime._wires, what="the end of the connection")


def test_runtime_that_is_down(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A runtime that is down refuses connections, and keeps its port."""
    connection = connect()
    assert ask(connection, "GET", JOB)[0] == 204
    runtime.go_down()
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(connection, "GET", JOB)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", runtime.port))
    runtime.come_back()
    assert ask(connect(), "GET", JOB)[0] == 204


@pytest.mark.parametrize("fault", ["other CA", "expired", "other name"])
def test_wrong_certificates_are_wrong(
    runtime: ScriptedRuntime, connect: Connect, authority: Authority, fault: str
) -> None:
    wrong: dict[str, Callable[[], ssl.SSLContext]] = {
        "other CA": Authority().good,
        "expired": authority.expired,
        "other name": lambda: authority.named("example.org"),
    }
    runtime.show_certificate(wrong[fault]())
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(connect(), "GET", JOB)
    runtime.request_log.wait_for(lambda: runtime.request_log.handshake_failures, what="a failed handshake")
    assert runtime.request_log.all() == []


def test_client_that_has_gone(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A job is kept if the polling client has gone."""
    runtime.poll_seconds = 30
    gone = connect()
    gone.request("GET", JOB, headers={"Module-Auth-Token": runtime.token})
    runtime.wait_for_poll()
    gone.close()
    runtime.submit("f", b"1")
    assert ask(connect(), "GET", JOB)[1].endswith(b'"query":1}}')


def test_released_polls_are_answered_at_once(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.poll_seconds = 600
    once_polled(runtime, runtime.release_polls)
    assert ask(connect(), "GET", JOB)[0] == 204
