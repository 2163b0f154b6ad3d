"""Queries and names are the callers': whatever they hold, the job is answered, and the query passed on."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.answers import error_of
from tests.support.jobs import job_body
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]

ECHO = function("f", ["cat"])
RAW_LINES = [
    sys.executable,
    "-S",
    "-E",
    "-c",
    "import json,sys\nfor line in sys.stdin.buffer: print(json.dumps(line.decode('latin-1')), flush=True)",
]
"""A persistent process that answers with the bytes of the line that it has read."""


def nested(levels: int, kind: str) -> bytes:
    opening, closing = {"arrays": (b"[", b"]"), "objects": (b'{"a":', b"}")}[kind]
    return opening * levels + b"1" + closing * levels


def query_first(query: bytes, job_id: str) -> bytes:
    job = b'{"query":%s,"queryType":"f","jobId":"%s"}' % (query, job_id.encode())
    return b'{"computeModuleJobV1":%s,"type":"computeModuleJobV1"}' % job


def query_last(query: bytes, job_id: str) -> bytes:
    return job_body(query, job_id=job_id, query_type="f", members={})


def bare(query: bytes, job_id: str) -> bytes:
    return b'{"query":%s,"queryType":"f","jobId":"%s"}' % (query, job_id.encode())


FORMS = [query_first, query_last, bare]


@pytest.mark.parametrize("kind", ["arrays", "objects"])
def test_depth(harness: WorkerHarness, kind: str) -> None:
    """A query is passed on byte for byte, however deep it is, before or after the job's id."""
    harness.start(ECHO)
    for form in FORMS:
        for levels in (999, 1001, 2500, 100_000):
            job_id = f"{form.__name__} {levels}"
            query = nested(levels, kind)
            harness.runtime.submit_raw(job_id, form(query, job_id))
            assert bytes(harness.runtime.result(job_id).body) == query
    assert harness.runtime.call("f", b"2") == b"2"


def test_depth_in_other_members(harness: WorkerHarness) -> None:
    """An unknown member of any depth before the id costs nothing."""
    harness.start(ECHO)
    body = b'{"x":%s,"computeModuleJobV1":{"y":%s,"jobId":"j","queryType":"f","query":1}}'
    harness.runtime.submit_raw("j", body % (nested(5000, "arrays"), nested(5000, "objects")))
    assert bytes(harness.runtime.result("j").body) == b"1"


@pytest.mark.parametrize("mode", ["persistent", "prespawn"])
def test_depth_in_other_modes(harness: WorkerHarness, mode: str) -> None:
    """The same holds in the other modes."""
    harness.start(function("f", RAW_LINES, mode=mode))
    query = nested(5000, "arrays")
    assert json.loads(harness.runtime.call("f", query)).rstrip("\n") == query.decode()


def test_depth_in_invoke(harness: WorkerHarness) -> None:
    """`invoke` passes a deep query on without a warning about its JSON."""
    harness.write(ECHO)
    query = nested(5000, "objects")
    done = harness.cm_exec("invoke", "f", stdin=query)
    assert (done.returncode, done.stdout, done.stderr) == (0, query, b"")


def test_depth_of_a_result(harness: WorkerHarness) -> None:
    """A result that must be JSON may be as deep."""
    harness.start(function("f", ["cat"], output="json"))
    query = nested(5000, "arrays")
    assert harness.runtime.call("f", query) == query


def test_strings_that_are_not_json(harness: WorkerHarness) -> None:
    """A raw control character, or a byte that is not UTF-8, is not JSON; the job is answered all the same."""
    harness.start(ECHO)
    for form in FORMS:
        for characters in (b"\x00", b"\x01", b"\n", b"\x1f", b"\xff\xfe"):
            job_id = f"{form.__name__} {characters.hex()}"
            query = b'"a%sb"' % characters
            harness.runtime.submit_raw(job_id, form(query, job_id))
            result = harness.runtime.result(job_id)
            assert bytes(result.body) == query or error_of(result)["reason"] == "malformed_job"
            assert harness.runtime.call("f", b"2") == b"2"
            assert len(harness.runtime.posts(job_id)) == 1


def test_long_function_name(harness: WorkerHarness) -> None:
    """An unknown name of any length gives a small error result and short log lines."""
    worker = harness.start(ECHO)
    for name in ("n" * 5_000_000, "\x00" * 1_000_000, "é" * 1_000_000):
        result = harness.runtime.result(harness.runtime.submit(name))
        assert json.loads(bytes(result.body))["reason"] == "unknown_function"
        assert result.size < 5000
    worker.stop()
    assert max(map(len, worker.log.splitlines())) < 3000


SEPARATORS = ["\u2028", "\u2029", "\u0085"]


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_unicode_line_separators(harness: WorkerHarness, separator: str) -> None:
    """In lines mode a raw Unicode line separator is sent escaped: the same JSON, on one line for every reader."""
    harness.start(function("f", RAW_LINES, mode="persistent"))
    for value in (f"a{separator}b", {f"a{separator}b": 1}, [separator * 1000, "é", "\\" + separator]):
        query = json.dumps(value, ensure_ascii=False)
        line = json.loads(harness.runtime.call("f", query.encode())).encode("latin-1")
        assert json.loads(line) == value
        assert len(line.decode().splitlines()) == 1
    assert "é".encode() in line, "other characters stay as they are"


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_unicode_line_separators_in_the_envelope(harness: WorkerHarness, separator: str) -> None:
    """The same holds for all members of the envelope."""
    harness.start(function("f", RAW_LINES, mode="persistent", envelope=True))
    job = harness.runtime.submit("f", json.dumps(separator, ensure_ascii=False).encode(), members={"userId": separator})
    error = error_of(harness.runtime.result(job))  # the answer names no job
    assert error["reason"] == "out_of_step"
    (line,) = [re.sub(r"\\\\", r"\\", error["output"])]
    assert not set(SEPARATORS) & set(line)


def test_unicode_line_separators_untouched(harness: WorkerHarness) -> None:
    """Where the query is the whole input, its bytes are not changed."""
    harness.start(ECHO)
    query = json.dumps("".join(SEPARATORS), ensure_ascii=False).encode()
    assert harness.runtime.call("f", query) == query


def test_streamed_job_has_its_whole_duration(harness: WorkerHarness) -> None:
    """The log line of a streamed job gives the time until its end, not until its first byte."""
    worker = harness.start(function("f", "printf a; sleep 1.2; printf b", stream=True))
    job = harness.runtime.submit("f")
    assert bytes(harness.runtime.result(job).body) == b"ab"
    worker.stop()
    (line,) = [line for line in worker.stdout.splitlines() if job in line]
    number, unit = re.findall(r"\b([\d.]+) ?(ms|s)\b", line)[0]
    assert float(number) * (0.001 if unit == "ms" else 1) >= 1.2
