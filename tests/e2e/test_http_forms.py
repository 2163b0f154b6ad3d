"""What HTTP/1.1 allows a runtime, or a proxy in front of it, to answer; and what it does not allow."""

from collections.abc import Callable

import pytest

from tests.support import responses
from tests.support.jobs import job_body
from tests.support.processes import peak_memory
from tests.support.raw_http import response
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])
OK = b"HTTP/1.1 200 OK\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def forms_of(job: bytes) -> dict[str, bytes]:
    """Return the forms of a response with a job on a connection that stays open."""
    length = b"Content-Length: %d\r\n" % len(job)
    return {
        "chunked": CHUNKED + chunk(job) + b"0\r\n\r\n",
        "in many chunks": CHUNKED + b"".join(chunk(job[n : n + 1]) for n in range(len(job))) + b"0\r\n\r\n",
        "with chunk extensions and trailers": CHUNKED + chunk(job, b";a=b") + b"0;last\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n",
        "capital hexadecimal": OK + b"transfer-encoding: Chunked\r\n\r\n%X\r\n%s\r\n00\r\n\r\n" % (len(job), job),
        "odd header cases": OK + b"content-LENGTH:\t%d  \r\n\r\n%s" % (len(job), job),
        "no reason phrase": b"HTTP/1.1 200\r\n" + length + b"\r\n" + job,
        "reason in another language": "HTTP/1.1 200 Schön gemacht\r\n".encode() + length + b"\r\n" + job,
        "early hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + length + b"\r\n" + job,
        "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + length + b"\r\n" + job,
        "many headers": OK + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(90)) + length + b"\r\n" + job,
        "a long header": OK + b"X-Long: %s\r\n" % (b"x" * 8000) + length + b"\r\n" + job,
        "the same length twice": OK + length + length + b"\r\n" + job,
    }


def closed_forms_of(job: bytes) -> dict[str, bytes]:
    """Return the forms of a response with a job at the end of a connection."""
    length = b"Content-Length: %d\r\n" % len(job)
    return {
        "announced": OK + b"Connection: close\r\n" + length + b"\r\n" + job,
        "without a length": OK + b"Connection: close\r\n\r\n" + job,
        "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + job,
        "HTTP/1.0 with a length": b"HTTP/1.0 200 OK\r\n" + length + b"\r\n" + job,
    }


@pytest.mark.parametrize("forms", [forms_of, closed_forms_of], ids=["open", "closed"])
def test_forms_of_a_job(harness: WorkerHarness, forms: Callable[[bytes], dict[str, bytes]]) -> None:
    """A job is read in every form of HTTP."""
    names = list(forms(b""))
    for name in names:
        harness.runtime.jobs.known.add(name)
        job = job_body(b"[1,2,3]", job_id=name, query_type="f", members={})
        harness.runtime.script(
            Endpoint.JOB, responses.raw(forms(job)[name], status=200, close=forms is closed_forms_of)
        )
    harness.start(ECHO)
    assert [bytes(harness.runtime.result(name).body) for name in names] == [b"[1,2,3]"] * len(names)
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


def test_forms_of_a_response_to_a_result(harness: WorkerHarness) -> None:
    """After any form of response to a result the connection remains usable."""
    harness.start(ECHO)
    for form in ANSWERED.values():
        harness.runtime.script(Endpoint.RESULT, *[responses.raw(form, status=204)] * 3)
        assert [harness.runtime.call("f", b"%d" % n) for n in range(6)] == [b"%d" % n for n in range(6)]
    assert len(harness.runtime.request_log.all(Endpoint.RESULT)) == 6 * len(ANSWERED)


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
