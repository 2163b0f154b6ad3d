"""Services that are HTTP servers, through the installed cm-exec and a real runtime."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.answers import error_of
from tests.support.listener import reserved_port
from tests.support.processes import wait_until
from tests.support.request_log import Endpoint, Request
from tests.support.toml import function, served, service, table
from tests.support.worker_harness import WorkerHarness

SERVER: Final = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "http_server.py")]
PATIENCE: Final = 90.0


@pytest.fixture
def port() -> Iterator[int]:
    """Reserve a port for the server of a service."""
    with reserved_port() as number:
        yield number


def web(port: int, *arguments: str, **options: object) -> str:
    """Return the service `s`: a server on this port."""
    url = f"http://127.0.0.1:{port}"
    return service("s", [*SERVER, str(port), *arguments], protocol="http", url=url, **options)


def result(harness: WorkerHarness, query: object, *, to: str = "f", **members: str) -> Request:
    job = harness.runtime.submit(to, json.dumps(query).encode(), members=members)
    return harness.runtime.result(job, seconds=PATIENCE)


def ask(harness: WorkerHarness, query: object = None, *, to: str = "f", **members: str) -> Any:
    return json.loads(bytes(result(harness, query, to=to, **members).body))


def error(harness: WorkerHarness, query: object = None, *, to: str = "f") -> dict[str, Any]:
    return error_of(result(harness, query, to=to), function=to)


def test_a_job_is_a_post_with_the_query_as_it_is(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("classify"))
    query = b'{"a" : 1.10, "b": [ "\xc3\xa9" ]}'
    job = harness.runtime.submit("classify", query, members={"userId": "ada", "authHeader": "Bearer s3cret"})
    seen = json.loads(bytes(harness.runtime.result(job).body))
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/classify", query.decode())
    headers = seen["headers"]
    assert headers["content-type"] == "application/json"
    assert (headers["cm-job-id"], headers["cm-query-type"], headers["cm-user-id"]) == (job, "classify", "ada")
    assert headers["host"] == f"127.0.0.1:{port}"
    assert "authorization" not in headers


@pytest.mark.parametrize("where", ["service", "function"])
def test_credentials_become_the_authorization(harness: WorkerHarness, port: int, where: str) -> None:
    by_function = where == "function"
    functions = [served(name, credentials=True) if by_function else served(name) for name in ("f", "noise")]
    worker = harness.start(web(port, credentials=not by_function) + "".join(functions))
    assert ask(harness, authHeader="Bearer s3cret")["headers"]["authorization"] == "Bearer s3cret"
    failed = error_of(result(harness, "the token is", to="noise", authHeader="Bearer s3cret"))
    assert failed["reason"] == "http_status"
    wait_until(lambda: "the token is" in worker.log, what="the line in the log")
    assert "s3cret" not in worker.log + json.dumps(failed)


def test_inputs_go_into_path_query_and_body(harness: WorkerHarness, port: int) -> None:
    inputs = {"id": "string", "q": "optional<list<string>>", "n": "optional<integer>"}
    names = ["q", "n"]
    config = (
        web(port)
        + served("find", request="GET /items/{id}", inputs=inputs, query=names)
        + served("drop", request="DELETE /items/{id}", inputs={"id": "string"})
        + served("put", request="PUT /items/{id}", inputs={"id": "string", "item": "string"}, body="item")
    )
    harness.start(config)
    seen = ask(harness, {"id": "a/b ü?", "q": ["x y", "&"], "n": 12345678901234567890}, to="find")
    assert (seen["method"], seen["body"]) == ("GET", "")
    assert seen["path"] == "/items/a%2Fb%20%C3%BC%3F?q=x+y&q=%26&n=12345678901234567890"
    assert ask(harness, {"id": "7", "q": None}, to="find")["path"] == "/items/7"
    assert ask(harness, {"id": "7"}, to="drop")["method"] == "DELETE"
    put = ask(harness, {"id": "7", "item": "new"}, to="put")
    assert (put["method"], put["path"], put["body"]) == ("PUT", "/items/7", '"new"')
    for query in ({}, {"id": None}, 5):
        assert error(harness, query, to="find")["reason"] == "invalid_query"


def test_any_body_of_a_success_is_the_result(harness: WorkerHarness, port: int) -> None:
    functions = [served("raw"), served("void"), served("created", request="POST /status/201")]
    harness.start(web(port) + "".join(functions))
    assert bytes(result(harness, 0, to="raw").body) == bytes(range(256)) * 2
    assert bytes(result(harness, 0, to="void").body) == b""
    assert bytes(result(harness, 0, to="created").body) == b"0"


@pytest.mark.parametrize("status", [301, 404, 418, 500])
def test_error_status(harness: WorkerHarness, port: int, status: int) -> None:
    """Another status is an error with the beginning of the body."""
    harness.start(web(port) + served("f", request=f"POST /status/{status}"))
    failed = error(harness, "short and stout")
    assert (failed["reason"], failed["status"]) == ("http_status", status)
    assert failed["output"] == '"short and stout"'
    assert len(error(harness, "x" * 100_000)["output"]) == 4096


def test_timeout(harness: WorkerHarness, port: int) -> None:
    """A timeout closes the connection, and the server continues."""
    harness.start(web(port) + served("f") + served("hang", timeout=1), "--concurrency", "2")
    pid = ask(harness)["pid"]
    assert error(harness, to="hang")["reason"] == "timeout"
    wait_until(harness.folder.joinpath("gone").exists, what="the end of the connection")
    assert ask(harness)["pid"] == pid


def test_exit(harness: WorkerHarness, port: int) -> None:
    """A server that dies fails its jobs, and is restarted."""
    harness.start(
        web(port) + served("f") + served("exit") + served("hold", request="POST /hold/1"), "--concurrency", "3"
    )
    pid = ask(harness)["pid"]
    held = harness.runtime.submit("hold")
    wait_until(harness.folder.joinpath("held-1").exists, what="the job in the server")
    failed = error(harness, to="exit")
    assert (failed["reason"], failed["exitCode"], failed["stderr"]) == ("exit", 3, "no more memory\n")
    assert error_of(harness.runtime.result(held), function="hold")["exitCode"] == 3
    assert ask(harness)["pid"] != pid


def test_exit_of_an_idle_server(harness: WorkerHarness, port: int) -> None:
    """A server that is killed while idle fails no job."""
    worker = harness.start(web(port) + served("f"))
    pid = ask(harness)["pid"]
    os.kill(pid, signal.SIGKILL)
    worker.wait_for_log(
        "the server of 's' ended between jobs, by SIGKILL"
    )  # a job that comes before may have reached it
    assert ask(harness)["pid"] != pid


def test_a_response_without_its_end_is_an_error(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("f") + served("cut"))
    assert error(harness, to="cut")["reason"] == "out_of_step"
    assert ask(harness)["method"] == "POST"


@pytest.mark.parametrize("stream", [False, True])
def test_end_of_the_connection_as_the_end_of_the_body(harness: WorkerHarness, port: int, stream: bool) -> None:
    """A body without a length that the crash of its server ends is not a result."""
    config = served("f", request="POST /open/well", stream=stream)
    harness.start(web(port) + config + served("g", request="POST /open/crash", stream=stream))
    assert bytes(result(harness, 0).body) == b"[1, 2]"
    failed = error(harness, to="g")
    assert (failed["reason"], failed["exitCode"]) == ("exit", 3)


def test_a_server_that_does_not_read_the_query(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("early"))
    assert bytes(result(harness, "x" * 20_000_000, to="early").body) == b'"early"'


@pytest.mark.parametrize("end", ["drop", "reset", "cut", "exit"])
def test_no_repeated_request(harness: WorkerHarness, port: int, end: str) -> None:
    """A request that the server may have received is not repeated, not even on a kept connection."""
    harness.start(web(port) + served("f") + served(end), "--concurrency", "1")
    ask(harness)
    failed = result(harness, 0, to=end)
    assert error_of(failed)["reason"] == ("exit" if end == "exit" else "out_of_step")
    ask(harness)
    received = harness.folder.joinpath("received").read_text().split()
    assert received.count(failed.job_id) == 1
    assert len(received) == 3


def test_closed_connection(harness: WorkerHarness, port: int) -> None:
    """A connection that the server closes after its response, without notice, fails no job."""
    harness.start(web(port) + served("close"), "--concurrency", "1")
    for number in range(5):
        assert ask(harness, number, to="close") == number
        wait_until(harness.folder.joinpath("closed").exists, what="the end of the connection")
        harness.folder.joinpath("closed").unlink()
    assert len(harness.folder.joinpath("received").read_text().split()) == 5


def test_connections_are_kept(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("f"), "--concurrency", "1")
    jobs = [harness.runtime.submit("f") for _ in range(10)]
    seen = [json.loads(bytes(harness.runtime.result(job).body))["requests"] for job in jobs]
    assert max(seen) > 1


def test_many_jobs_at_a_time(harness: WorkerHarness, port: int) -> None:
    functions = "".join(served(f"f{n}", request=f"POST /hold/{n}") for n in range(8))
    harness.start(web(port) + functions, "--concurrency", "8")
    jobs = [harness.runtime.submit(f"f{n}") for n in range(8)]
    for number, job in reversed(list(enumerate(jobs))):
        wait_until(harness.folder.joinpath(f"held-{number}").exists, what="the job in the server")
        harness.folder.joinpath(f"go-{number}").touch()
        assert bytes(harness.runtime.result(job).body) == b"%d" % number


def test_no_poll_comes_before_the_server_is_ready(harness: WorkerHarness, port: int) -> None:
    worker = harness.launch(web(port, ready="/health") + served("f", timeout=1) + function("g", "cat"))
    wait_until(worker.descendants, what="the start of the server")
    assert harness.cm_exec("ready", environment=harness.environment()).returncode == 1
    assert not harness.runtime.request_log.all(Endpoint.JOB)
    harness.folder.joinpath("healthy").touch()
    worker.wait_until_ready()
    assert ask(harness)["path"] == "/f"


def test_server_that_is_not_ready(harness: WorkerHarness, port: int) -> None:
    """A server that is not ready for a long time is reported."""
    worker = harness.launch(web(port, ready="/health") + served("f"))
    url = f"http://127.0.0.1:{port}/health"
    worker.wait_for_log(f"service s is not ready after 5 s: {url} answers 503; start_timeout is 300 s")


def test_server_that_nobody_starts(harness: WorkerHarness, port: int) -> None:
    """The warning says that nothing starts the server."""
    worker = harness.launch(service("s", protocol="http", url=f"http://127.0.0.1:{port}") + served("f"))
    worker.wait_for_log(
        f"after 5 s: cannot connect to http://127.0.0.1:{port}: connection refused; no command in cm.toml"
    )


@pytest.mark.parametrize("waits", [True, False])
def test_the_start_is_not_part_of_a_job(harness: WorkerHarness, port: int, waits: bool) -> None:
    """Loading takes three times as long as a job may take, and no job fails."""
    launcher = table("launcher", wait_for_services=waits)
    harness.start(web(port, "load", "3") + served("f", timeout=1) + launcher, "--concurrency", "4")
    jobs = [harness.runtime.submit("f", b"%d" % number) for number in range(6)]
    bodies = [json.loads(bytes(harness.runtime.result(job, seconds=PATIENCE).body))["body"] for job in jobs]
    assert bodies == [str(number) for number in range(6)]


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("exec /no/such/program", "status 127"),
        (["/no/such/program"], "/no/such/program"),
        ("sleep 300", "within 1 s: cannot connect to http://localhost:"),
    ],
)
def test_server_that_does_not_start(harness: WorkerHarness, port: int, command: str | list[str], detail: str) -> None:
    """A server that does not start leaves other functions working."""
    broken = service("s", command, protocol="http", url=f"http://localhost:{port}", start_timeout=1)
    harness.start(broken + served("f") + function("good", "cat"), "--concurrency", "2")
    assert harness.runtime.call("good", b"1") == b"1"
    failed = error(harness)
    assert failed["reason"] == "not_started"
    assert detail in failed["error"]


def test_failed_restart(harness: WorkerHarness, port: int) -> None:
    """Jobs do not wait for a server that cannot restart."""
    broken = "[ ! -e broken ] || { echo 'no memory' >&2; exit 4; }"
    command = f"{broken}; exec {shlex.join([*SERVER, str(port)])}"
    harness.start(service("s", command, protocol="http", url=f"http://127.0.0.1:{port}") + served("f") + served("exit"))
    ask(harness)
    harness.folder.joinpath("broken").touch()
    assert error(harness, to="exit")["exitCode"] == 3
    for _ in range(20):
        failed = error(harness)
        assert (failed["reason"], failed["exitCode"], failed["stderr"]) == ("not_started", 4, "no memory\n")
    harness.folder.joinpath("broken").unlink()
    wait_until(lambda: ask(harness).get("path") == "/f", what="the next start", seconds=PATIENCE)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_localhost_is_each_of_its_addresses(harness: WorkerHarness, port: int, address: str) -> None:
    config = service("s", [*SERVER, str(port), "at", address], protocol="http", url=f"http://localhost:{port}")
    harness.start(config + served("f"))
    assert ask(harness)["headers"]["host"] == f"localhost:{port}"


def test_a_unix_socket(harness: WorkerHarness) -> None:
    path = harness.folder / "api.sock"
    socket = service("s", [*SERVER, str(path)], protocol="http", url=f"unix:{path}")
    harness.start(socket + served("f"), "--concurrency", "16")
    jobs = [harness.runtime.submit("f", b"%d" % number) for number in range(100)]
    assert [json.loads(bytes(harness.runtime.result(job).body))["body"] for job in jobs] == [str(n) for n in range(100)]


def test_a_server_that_something_else_starts(harness: WorkerHarness, port: int) -> None:
    """It may start after the worker, and again. A job that it cannot have received waits for it."""
    config = service("s", protocol="http", url=f"http://127.0.0.1:{port}") + served("f")
    worker = harness.launch(config + function("g", "cat"), "--concurrency", "2")
    for _ in range(2):
        with subprocess.Popen([*SERVER, str(port)], cwd=harness.folder) as server:
            try:
                worker.wait_until_ready()
                assert ask(harness)["pid"] == server.pid
            finally:
                server.kill()
        job = harness.runtime.submit("f", b"1")
        harness.runtime.wait_until_handed_out(job)
        assert harness.runtime.call("g", b"2") == b"2"
    with subprocess.Popen([*SERVER, str(port)], cwd=harness.folder) as server:
        try:
            assert json.loads(bytes(harness.runtime.result(job, seconds=PATIENCE).body))["pid"] == server.pid
        finally:
            server.kill()


def test_a_body_is_posted_as_it_comes(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("stream", stream=True))
    assert_live(harness, "stream", b"beginmiddleend")


def test_events(harness: WorkerHarness, port: int) -> None:
    """The data of each event is posted as it arrives."""
    harness.start(web(port) + served("events", stream="sse"))
    assert_live(harness, "events", b"beginmid\ndleend")


def test_no_events(harness: WorkerHarness, port: int) -> None:
    """A body that is no event stream, and does not say so, is an error and no empty result."""
    harness.start(web(port) + served("f", request="POST /large/5", stream="sse"))
    failed = error(harness)
    assert (failed["reason"], failed["output"]) == ("invalid_output", "11111")


def assert_live(harness: WorkerHarness, name: str, whole: bytes) -> None:
    runtime = harness.runtime
    job = runtime.submit(name)
    runtime.request_log.wait_for(
        lambda: any(bytes(p.body) == b"begin" for p in runtime.posts(job)), what="the first chunk"
    )
    harness.folder.joinpath("go").touch()
    assert bytes(runtime.result(job).body) == whole
    assert len(runtime.posts(job)) == 1


def test_more_than_max_output_is_an_error(harness: WorkerHarness, port: int) -> None:
    config = web(port) + served("f", request="POST /large/100000", max_output=100_000)
    harness.start(config + served("g", request="POST /large/100001", max_output=100_000))
    assert len(result(harness, 0).body) == 100_000
    assert error(harness, to="g")["reason"] == "output_limit"
    assert len(result(harness, 0).body) == 100_000


def test_large_queries_and_results(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("f", request="POST /status/200"))
    large = "0123456789abcdef" * 1_000_000
    assert ask(harness, large) == large


def test_100_mb_go_both_ways(harness: WorkerHarness, port: int) -> None:
    harness.start(web(port) + served("f", request="POST /status/200", max_output="128MiB"))
    query = b'"' + bytes(range(97, 123)) * 4_000_000 + b'"'
    answered = harness.runtime.result(harness.runtime.submit("f", query), seconds=PATIENCE)
    assert (answered.size, answered.sha256) == (len(query), hashlib.sha256(query).hexdigest())


def test_drain(harness: WorkerHarness, port: int) -> None:
    """A drain finishes the jobs and ends the server."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(web(port) + served("f", request="POST /hold/1"))
    job = harness.runtime.submit("f")
    wait_until(harness.folder.joinpath("held-1").exists, what="the job in the server")
    worker.terminate()
    harness.folder.joinpath("go-1").touch()
    assert worker.wait(PATIENCE) == 0
    assert bytes(harness.runtime.result(job).body) == b"1"
    worker.wait_until_alone()


def test_a_drain_ends_what_does_not_end_in_time(harness: WorkerHarness, port: int) -> None:
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(web(port) + served("hang"), "--drain-timeout", "0.5")
    job = harness.runtime.submit("hang")
    wait_until(harness.folder.joinpath("hangs").exists, what="the job in the server")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    assert error_of(harness.runtime.result(job))["reason"] == "shutdown"


def test_compressed_result(harness: WorkerHarness, port: int) -> None:
    """A compressed body is no result: the request asks for none, and the caller could not read it."""
    harness.start(web(port) + served("f", request="POST /header/Content-Encoding/gzip") + served("g"))
    failed = error(harness)
    assert (failed["reason"], "exitCode" in failed) == ("invalid_output", False)
    assert "Content-Encoding 'gzip'" in failed["error"]
    assert ask(harness, to="g")["headers"]["accept-encoding"] == "identity"


def test_json_instead_of_events(harness: WorkerHarness, port: int) -> None:
    """A server that answers without a stream, as a chat does with "stream": false, gives its body as the result."""
    request = "POST /header/Content-Type/application%2Fjson"
    harness.start(web(port) + served("f", request=request, stream="sse"))
    assert ask(harness, {"text": "all"}) == {"text": "all"}


def test_invalid_output_of_a_server(harness: WorkerHarness, port: int) -> None:
    """The error has no exit code: the server goes on."""
    harness.start(web(port) + served("raw", output="json"))
    failed = error(harness, to="raw")
    assert (failed["reason"], "exitCode" in failed) == ("invalid_output", False)


def test_timeout_of_a_request(harness: WorkerHarness, port: int) -> None:
    """The message says that the job was cancelled, and not that the server was ended."""
    harness.start(web(port) + served("hang", timeout=0.5))
    message = "the job of 'hang' did not finish within its timeout of 0.5 s and was cancelled (it had sent no response)"
    assert error(harness, to="hang")["error"] == message
