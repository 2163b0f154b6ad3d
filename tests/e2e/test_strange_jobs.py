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


def query_first(query: bytes) -> bytes:
    return b'{"computeModuleJobV1":{"query":%s,"queryType":"f","jobId":"j"},"type":"computeModuleJobV1"}' % query


def query_last(query: bytes) -> bytes:
    return job_body(query, job_id="j", query_type="f", members={})


def bare(query: bytes) -> bytes:
    return b'{"query":%s,"queryType":"f","jobId":"j"}' % query


FORMS = [query_first, query_last, bare]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("kind", ["arrays", "objects"])
@pytest.mark.parametrize("levels", [999, 1001, 2500, 100_000])
def test_depth(harness: WorkerHarness, levels: int, kind: str, form: object) -> None:
    """A query is passed on byte for byte, however deep it is, before or after the job's id."""
    assert callable(form)
    harness.start(ECHO)
    query = nested(levels, kind)
    harness.runtime.submit_raw("j", form(query))
    assert bytes(harness.runtime.result("j").body) == query
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


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("character", [b"\x00", b"\x01", b"\n", b"\x1f"], ids=ascii)
def test_control_characters(harness: WorkerHarness, character: bytes, form: object) -> None:
    """A raw control character in a string is not JSON; the job is answered all the same, before or after its id."""
    assert callable(form)
    harness.start(ECHO)
    query = b'"a%sb"' % character
    harness.runtime.submit_raw("j", form(query))
    result = harness.runtime.result("j")
    assert bytes(result.body) == query or error_of(result)["reason"] == "malformed_job"
    assert harness.runtime.call("f", b"2") == b"2"
    assert len(harness.runtime.posts("j")) == 1


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_invalid_utf8(harness: WorkerHarness, form: object) -> None:
    """The same holds for bytes that are not UTF-8."""
    assert callable(form)
    harness.start(ECHO)
    harness.runtime.submit_raw("j", form(b'"\xff\xfe"'))
    result = harness.runtime.result("j")
    assert bytes(result.body) == b'"\xff\xfe"' or error_of(result)["reason"] == "malformed_job"
    assert harness.runtime.call("f", b"2") == b"2"


@pytest.mark.parametrize("name", ["n" * 5_000_000, "\x00" * 1_000_000, "é" * 1_000_000], ids=["ascii", "NUL", "utf-8"])
def test_long_function_name(harness: WorkerHarness, name: str) -> None:
    """An unknown name of any length gives a small error result and short log lines."""
    worker = harness.start(ECHO)
    result = harness.runtime.result(harness.runtime.submit(name))
    assert json.loads(bytes(result.body))["reason"] == "unknown_function"
    assert result.size < 5000
    worker.stop()
    assert max(map(len, worker.log.splitlines())) < 3000


SEPARATORS = ["\u2028", "\u2029", "\u0085"]


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
@pytest.mark.parametrize("place", ["value", "key", "many"])
def test_unicode_line_separators(harness: WorkerHarness, separator: str, place: str) -> None:
    """In lines mode a raw Unicode line separator is sent escaped: the same JSON, on one line for every reader."""
    harness.start(function("f", RAW_LINES, mode="persistent"))
    value = {"value": f"a{separator}b", "key": {f"a{separator}b": 1}, "many": [separator * 1000, "é", "\\" + separator]}
    query = json.dumps(value[place], ensure_ascii=False)
    line = json.loads(harness.runtime.call("f", query.encode())).encode("latin-1")
    assert json.loads(line) == value[place]
    assert len(line.decode().splitlines()) == 1
    if place == "many":
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
