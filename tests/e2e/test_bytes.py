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


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:24].decode(errors="replace"))
def test_query(harness: WorkerHarness, query: bytes) -> None:
    """A query reaches the handler byte for byte."""
    harness.start(function("f", ["cat"]))
    assert harness.runtime.call("f", query) == query


BODIES = {
    "members in another order": b'{"computeModuleJobV1":{"query":{"n": 1},"queryType":"f","jobId":"j"},"type":"x"}',
    "no type": b'{"computeModuleJobV1":{"jobId":"j","queryType":"f","query":{"n": 1}}}',
    "no envelope": b'{"jobId":"j","queryType":"f","query":{"n": 1}}',
    "unknown members": b'{"v":2,"computeModuleJobV1":{"x":[{}],"jobId":"j","queryType":"f","query":{"n": 1},"y":null}}',
    "white space": b' \n{ "computeModuleJobV1" : { "jobId" : "j" , "queryType":"f" , "query" : {"n": 1} } } \n',
    "nulls": b'{"computeModuleJobV1":{"jobId":"j","queryType":"f","query":{"n": 1},"userId":null,"authHeader":null}}',
}


@pytest.mark.parametrize("name", BODIES)
def test_every_form_of_a_job_is_understood(harness: WorkerHarness, name: str) -> None:
    harness.start(function("f", ["cat"]))
    harness.runtime.submit_raw("j", BODIES[name])
    assert bytes(harness.runtime.result("j").body) == b'{"n": 1}'


@pytest.mark.parametrize("output", [b"no line end", b"line end\n", b"", b"\0\xff\xfe", b"\r\n", b"\xef\xbb\xbfbom"])
def test_stdout_comes_back_byte_for_byte(harness: WorkerHarness, output: bytes) -> None:
    harness.folder.joinpath("output").write_bytes(output)
    harness.start(function("f", "cat output"))
    assert harness.runtime.call("f") == output


def test_a_result_has_the_documented_headers(harness: WorkerHarness) -> None:
    harness.start(function("f", "printf abc"))
    head = harness.runtime.result(harness.runtime.submit("f")).head
    assert head.header("content-type") == "application/octet-stream"
    assert head.header("module-auth-token") == harness.runtime.token


@pytest.mark.parametrize("job_id", ["a/b c?d#e%2F", "ü", "..%2f", "a;b&c=d+e", "../job"])
def test_a_strange_job_id_is_percent_encoded(harness: WorkerHarness, job_id: str) -> None:
    harness.start(function("f", "printf abc"))
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


@pytest.mark.parametrize("output", [b'{"a": 1.10,\n "b":[ ]}\n', b" null", b'"x"', b"1E400"])
def test_output_json_posts_valid_json_as_it_is(harness: WorkerHarness, output: bytes) -> None:
    harness.folder.joinpath("output").write_bytes(output)
    harness.start(function("f", "cat output", output="json"))
    assert harness.runtime.call("f") == output


@pytest.mark.parametrize("output", [b"", b"{", b"NaN", b"1 2", b'"\xff"', b"{} x", b"[1,]", b"Infinity"])
def test_output_json_refuses_what_is_no_json(harness: WorkerHarness, output: bytes) -> None:
    harness.folder.joinpath("output").write_bytes(output)
    harness.start(function("f", "cat output", output="json"))
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "invalid_output"


@pytest.mark.parametrize("text", ["", "plain", 'a "quoted" \\ line\n', "ü\t\u2028🎉\x01", "{}"])
def test_output_text_posts_a_json_string(harness: WorkerHarness, text: str) -> None:
    harness.folder.joinpath("output").write_bytes(text.encode())
    harness.start(function("f", "cat output", output="text"))
    assert json.loads(harness.runtime.call("f")) == text.removesuffix("\n")


def test_output_text_that_is_not_utf8_is_an_error(harness: WorkerHarness) -> None:
    harness.start(function("f", r"printf 'a\377b'", output="text"))
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["reason"] == "invalid_output"
