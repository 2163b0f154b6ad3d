import json

import pytest

from tests.support.answers import error_of
from tests.support.processes import cpu_seconds, peak_memory
from tests.support.toml import function
from tests.support.tools import needs
from tests.support.worker_harness import WorkerHarness

MIB = 1 << 20

QUERIES = [
    rb'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\u00e9\/","d":1,"d":2,"z":[ ]}',
    b"null",
    b"2",
    b'""',
    b'{"a" :\t[1 ,  2 ]\r\n}',
    '{"ü":"日本🎉"}'.encode(),
    rb'{"half":"\ud83d"}',
    b'{"jobId":"another","queryType":"other","query":{"query":1}}',
    b"[" * 200 + b"]" * 200,
    b'{"computeModuleJobV1":{"jobId":"another"}}',
    b"-0",
    b'"' + b"x" * 100_000 + b'"',
]


def test_queries(harness: WorkerHarness) -> None:
    """A query reaches the handler byte for byte."""
    harness.start(function("f", ["cat"]))
    for query in QUERIES:
        assert harness.runtime.call("f", query) == query


BODIES = {  # with JOB for the job's id
    "members in another order": b'{"computeModuleJobV1":{"query":{"n": 1},"queryType":"f","jobId":"JOB"},"type":"x"}',
    "no type": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":"f","query":{"n": 1}}}',
    "no envelope": b'{"jobId":"JOB","queryType":"f","query":{"n": 1}}',
    "unknown members": b'{"v":2,"computeModuleJobV1":'
    b'{"x":[{}],"jobId":"JOB","queryType":"f","query":{"n": 1},"y":null}}',
    "white space": b' \n{ "computeModuleJobV1" : { "jobId" : "JOB" , "queryType":"f" , "query" : {"n": 1} } } \n',
    "nulls": b'{"computeModuleJobV1":{"jobId":"JOB","queryType":"f","query":{"n": 1},"userId":null,"authHeader":null}}',
}


def test_every_form_of_a_job_is_understood(harness: WorkerHarness) -> None:
    harness.start(function("f", ["cat"]))
    for name, body in BODIES.items():
        harness.runtime.submit_raw(name, body.replace(b"JOB", name.encode()))
        assert bytes(harness.runtime.result(name).body) == b'{"n": 1}', name


def test_stdout_comes_back_byte_for_byte(harness: WorkerHarness) -> None:
    harness.start(function("f", "cat output"))
    for output in (b"no line end", b"line end\n", b"", b"\0\xff\xfe", b"\r\n", b"\xef\xbb\xbfbom"):
        harness.folder.joinpath("output").write_bytes(output)
        assert harness.runtime.call("f") == output


def test_a_result_has_the_documented_headers(harness: WorkerHarness) -> None:
    harness.start(function("f", "printf abc"))
    head = harness.runtime.result(harness.runtime.submit("f")).head
    assert head.header("content-type") == "application/octet-stream"
    assert head.header("module-auth-token") == harness.runtime.token


def test_a_strange_job_id_is_percent_encoded(harness: WorkerHarness) -> None:
    harness.start(function("f", "printf abc"))
    for job_id in ("a/b c?d#e%2F", "ü", "..%2f", "a;b&c=d+e", "../job"):
        harness.runtime.submit("f", job_id=job_id)
        result = harness.runtime.result(job_id)
        assert result.head.target.count("/") == 5
        assert result.head.target.isascii()


def test_memory_of_a_large_result(harness: WorkerHarness) -> None:
    """A result of 256 MiB costs less than 64 MiB of memory."""
    size = 256 * MIB
    worker = harness.start(function("f", f"head -c {size} /dev/zero", max_output="256MiB") + function("warm", "cat"))
    harness.runtime.call("warm")
    before = peak_memory(worker.pid)
    result = harness.runtime.result(harness.runtime.submit("f"), seconds=100)
    assert result.size == size
    assert peak_memory(worker.pid) - before < 64 * MIB


def test_large_query(harness: WorkerHarness) -> None:
    """A query of 32 MB passes through cat and back."""
    query = json.dumps({"data": "0123456789abcdef" * 2_000_000}).encode()
    worker = harness.start(function("f", ["cat"]))
    before = cpu_seconds(worker.pid)
    assert harness.runtime.call("f", query) == query
    assert cpu_seconds(worker.pid) - before < 3


@needs("jq")
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("cat", {"mode": "persistent"}),
        ("cat", {"mode": "persistent", "protocol": "content-length"}),
        ("jq -c --unbuffered '{jobId, result: .query}'", {"mode": "persistent", "envelope": True}),
        ("cat", {"inputs": {"data": "string"}}),
        ("cat", {"mode": "prespawn"}),
    ],
    ids=["lines", "content-length", "envelope", "typed", "prespawn"],
)
def test_large_query_in_each_form(harness: WorkerHarness, command: str, options: dict[str, object]) -> None:
    """A query of 1 MB, which the worker does not copy, reaches its handler in each form of a message."""
    query = json.dumps({"data": "0123456789abcdef" * 62_500}, separators=(",", ":")).encode()
    harness.start(function("f", command, **options))
    for _ in range(2):
        assert harness.runtime.call("f", query) == query


@pytest.mark.parametrize(("limit", "size"), [("1KiB", 1024), (1024, 1024), ("1MiB", MIB)])
def test_max_output_is_the_most_that_is_taken(harness: WorkerHarness, limit: object, size: int) -> None:
    harness.start(
        function("fits", f"head -c {size} /dev/zero", max_output=limit)
        + function("over", f"head -c {size + 1} /dev/zero", max_output=limit)
    )
    assert harness.runtime.call("fits") == bytes(size)
    assert error_of(harness.runtime.result(harness.runtime.submit("over")))["reason"] == "output_limit"


def test_output_json_posts_valid_json_as_it_is(harness: WorkerHarness) -> None:
    harness.start(function("f", "cat output", output="json"))
    for output in (b'{"a": 1.10,\n "b":[ ]}\n', b" null", b'"x"', b"1E400"):
        harness.folder.joinpath("output").write_bytes(output)
        assert harness.runtime.call("f") == output


def test_output_json_refuses_what_is_no_json(harness: WorkerHarness) -> None:
    harness.start(function("f", "cat output", output="json"))
    for output in (b"", b"{", b"NaN", b"1 2", b'"\xff"', b"{} x", b"[1,]", b"Infinity"):
        harness.folder.joinpath("output").write_bytes(output)
        result = harness.runtime.result(harness.runtime.submit("f"))
        assert error_of(result)["reason"] == "invalid_output", output


def test_output_text_posts_a_json_string(harness: WorkerHarness) -> None:
    """Text that is not UTF-8 is an error."""
    harness.start(function("f", "cat output", output="text"))
    for text in ("", "plain", 'a "quoted" \\ line\n', "ü\t\u2028🎉\x01", "{}"):
        harness.folder.joinpath("output").write_bytes(text.encode())
        assert json.loads(harness.runtime.call("f")) == text.removesuffix("\n")
    harness.folder.joinpath("output").write_bytes(b"a\xffb")
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "invalid_output"
