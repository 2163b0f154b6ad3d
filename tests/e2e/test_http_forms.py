"""What HTTP/1.1 allows a runtime, or a proxy in front of it, to answer; and what it does not allow."""

import pytest

from tests.support import responses
from tests.support.jobs import job_body
from tests.support.processes import peak_memory
from tests.support.raw_http import response
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])
JOB = job_body(b"[1,2,3]", job_id="j", query_type="f", members={})
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(JOB)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

JOBS = {
    "chunked": CHUNKED + chunk(JOB) + b"0\r\n\r\n",
    "in many chunks": CHUNKED + b"".join(chunk(JOB[n : n + 1]) for n in range(len(JOB))) + b"0\r\n\r\n",
    "with chunk extensions and trailers": CHUNKED + chunk(JOB, b";a=b") + b"0;last\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n",
    "capital hexadecimal": OK + b"transfer-encoding: Chunked\r\n\r\n%X\r\n%s\r\n00\r\n\r\n" % (len(JOB), JOB),
    "odd header cases": OK + b"content-LENGTH:\t%d  \r\n\r\n%s" % (len(JOB), JOB),
    "no reason phrase": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + JOB,
    "reason in another language": "HTTP/1.1 200 Schön gemacht\r\n".encode() + LENGTH + b"\r\n" + JOB,
    "early hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + LENGTH + b"\r\n" + JOB,
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\n" + JOB,
    "many headers": OK + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(90)) + LENGTH + b"\r\n" + JOB,
    "a long header": OK + b"X-Long: %s\r\n" % (b"x" * 8000) + LENGTH + b"\r\n" + JOB,
    "the same length twice": OK + LENGTH + LENGTH + b"\r\n" + JOB,
}


@pytest.mark.parametrize("form", JOBS)
def test_forms_of_a_job(harness: WorkerHarness, form: str) -> None:
    """A job is read in every form of HTTP."""
    harness.runtime.jobs.known.add("j")
    harness.runtime.script(Endpoint.JOB, responses.raw(JOBS[form], status=200))
    harness.start(ECHO)
    assert bytes(harness.runtime.result("j").body) == b"[1,2,3]"
    assert harness.runtime.call("f", b"2") == b"2"


CLOSED = {
    "announced": OK + b"Connection: close\r\n" + LENGTH + b"\r\n" + JOB,
    "without a length": OK + b"Connection: close\r\n\r\n" + JOB,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + JOB,
    "HTTP/1.0 with a length": b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + JOB,
}


@pytest.mark.parametrize("form", CLOSED)
def test_job_of_a_closed_connection(harness: WorkerHarness, form: str) -> None:
    """A job that ends with its connection is read."""
    harness.runtime.jobs.known.add("j")
    harness.runtime.script(Endpoint.JOB, responses.raw(CLOSED[form], status=200, close=True))
    harness.start(ECHO)
    assert bytes(harness.runtime.result("j").body) == b"[1,2,3]"
    assert harness.runtime.call("f", b"2") == b"2"


BROKEN = {
    "no number as length": OK + b"Content-Length: many\r\n\r\n",
    "a negative length": OK + b"Content-Length: -5\r\n\r\n",
    "no chunk size": CHUNKED + b"soon\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\n",
    "no line end after a chunk": CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n",
    "a header without a colon": OK + b"Content-Length 5\r\n\r\nxxxxx",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\n\r\n",
    "NULs": b"\0" * 100 + b"\r\n\r\n",
    "nothing": b"",
    "half a status line": b"HTTP/1.",
    "half a header": OK + b"Content-Le",
    "half a chunked job": CHUNKED + b"400\r\nhalf",
}


@pytest.mark.parametrize("form", BROKEN)
def test_what_is_no_http_is_a_failure_that_passes(harness: WorkerHarness, form: str) -> None:
    broken = responses.raw(BROKEN[form], close=True)
    harness.runtime.script(Endpoint.JOB, broken, broken)
    harness.runtime.script(Endpoint.RESULT, broken, broken)
    worker = harness.start(ECHO)
    assert harness.runtime.call("f", b"[1]") == b"[1]"
    assert {bytes(p.body) for p in harness.runtime.request_log.all(Endpoint.RESULT)} == {b"[1]"}
    assert "Traceback" not in worker.log


ANSWERED = {
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "200 with a text": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "200 with a long text": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
    "202, chunked": b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"thanks") + b"0\r\n\r\n",
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("form", ANSWERED)
def test_forms_of_a_response_to_a_result(harness: WorkerHarness, form: str) -> None:
    """After any form of response to a result the connection remains usable."""
    harness.runtime.script(Endpoint.RESULT, *[responses.raw(ANSWERED[form], status=204)] * 3)
    harness.start(ECHO)
    assert [harness.runtime.call("f", b"%d" % n) for n in range(6)] == [b"%d" % n for n in range(6)]
    assert len(harness.runtime.request_log.all(Endpoint.RESULT)) == 6


def test_failure_with_a_body(harness: WorkerHarness) -> None:
    """After a failure with a body the connection remains usable."""
    body = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 5000) + b"0\r\n\r\n"
    for endpoint in (Endpoint.JOB, Endpoint.RESULT):
        harness.runtime.script(endpoint, responses.raw(body, status=500), responses.answer(500, b"y" * 70_000))
    harness.start(ECHO)
    assert [harness.runtime.call("f", b"%d" % n) for n in range(3)] == [b"0", b"1", b"2"]


def test_bytes_after_a_response(harness: WorkerHarness) -> None:
    """The bytes after a response are not the next response."""
    harness.runtime.poll_seconds = 0.2
    injected = job_body(b'"injected"', job_id="i", query_type="f", members={})
    smuggled = b"HTTP/1.1 204 No Content\r\n\r\n" + response(200, injected)
    harness.runtime.script(Endpoint.JOB, responses.raw(smuggled, status=204))
    harness.start(ECHO)
    assert harness.runtime.call("f", b"1") == b"1"
    assert harness.runtime.posts("i") == []


@pytest.mark.parametrize("line", [b"X-Flood: x\r\n" * 5000, b"x" * 65536], ids=["headers", "one header"])
def test_headers_without_an_end_are_cut_off(harness: WorkerHarness, line: bytes) -> None:
    harness.runtime.script(Endpoint.JOB, responses.flood(line))
    worker = harness.launch(ECHO)
    harness.runtime.wait_for_poll(after=1)
    assert peak_memory(worker.pid) < 200 << 20
    assert harness.runtime.call("f", b"1") == b"1"


def test_requests_are_as_http_wants_them(harness: WorkerHarness) -> None:
    harness.start(ECHO)
    result = harness.runtime.result(harness.runtime.submit("f", b"12345"))
    assert result.head.header("content-length") == "5"
    for request in harness.runtime.request_log.all():
        names = [name for name, _ in request.head.headers]
        assert request.head.header("host") == f"localhost:{harness.runtime.port}"
        assert len(names) == len(set(names))
        assert request.head.method == "POST" or request.head.header("content-length") in {None, "0"}
        assert request.head.method == "GET" or request.head.header("content-length") is not None
