"""A job's bytes: what is taken from them, untouched, and what is saved of broken ones."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cm_exec.protocol import Job, MalformedJobError, parse_job, redact, salvage_job_id

AWKWARD = (
    rb'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\u00e9\/","d":1,"d":2,"z":[ ]}',
    b"null",
    b"-0.0e-0",
    b'""',
    b"{ }",
    b'"\xc3\xa9\xf0\x9f\x98\x80"',
    rb'"\ud83d\ude00"',
    b'{"jobId":"inner","queryType":"other","query":1,"computeModuleJobV1":null}',
    b"1" * 5000,
    b"[" * 400 + b"]" * 400,
)
"""Queries that a parse and a dump would change."""

HALF_PAIRS = (
    rb'"\ud83d"',
    rb'{"\udc00":["\ud83d",{"jobId":"inner"}],"e":1E400,"b":1.10}',
    rb'["\uD83D\u0020",123456789012345678901234567890]',
    b'["\\ud83d"\n,\t"\xc3\xa9" , "\\"}" ]',
)
"""JSON by RFC 8259, though no text: msgspec refuses it."""


def body(query: bytes, **members: object) -> bytes:
    """Return a job as the platform sends it, with this query."""
    head = json.dumps({"jobId": "j-1", "queryType": "double", **members}).encode()
    return b'{"type":"computeModuleJobV1","computeModuleJobV1":%s,"query":%s}}' % (head[:-1], query)


def malformed(text: bytes) -> MalformedJobError:
    with pytest.raises(MalformedJobError) as caught:
        parse_job(text)
    return caught.value


@pytest.mark.parametrize("query", [*AWKWARD, *HALF_PAIRS])
def test_a_query_is_kept_byte_for_byte(query: bytes) -> None:
    job = parse_job(body(query))
    assert (job.job_id, job.query_type, job.query) == ("j-1", "double", query)


@pytest.mark.parametrize("query", [b'{"a": 1.10}', HALF_PAIRS[1]])
def test_a_buffer_serves_as_well_as_bytes(query: bytes) -> None:
    job = parse_job(bytearray(body(query)))
    assert (job.job_id, job.query, type(job.query)) == ("j-1", query, bytes)
    assert salvage_job_id(bytearray(body(query)[:30] + b'"jobId":"j"')) == "j"


any_text = st.text(st.characters(exclude_categories=[]))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
)


@given(any_json, st.booleans(), st.sampled_from([None, 0, 3]))
@example("\ud83d", False, None)
def test_any_json_query_survives(value: Any, ascii_only: bool, indent: int | None) -> None:
    try:
        query = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:  # half a pair cannot stand there but as an escape
        query = json.dumps(value, indent=indent).encode()
    assert parse_job(body(query)).query == query


@given(st.binary(max_size=200))
@example(b"{" * 3000)
@example(b'{"jobId":' * 3000)
def test_any_bytes_are_a_job_or_a_malformed_job(text: bytes) -> None:
    try:
        assert parse_job(text).job_id
    except MalformedJobError as error:
        assert error.job_id is None or error.job_id  # noqa: PT017 - it may also be a job


@pytest.mark.parametrize("query", [b"null", rb'"\ud83d"'])
@pytest.mark.parametrize("wrapped", [True, False])
def test_both_listeners_forms_are_read(query: bytes, wrapped: bool) -> None:
    members = b'{"extra":[{}],"userId":"u","queryType":"f","jobId":"j","query": %s ,"authHeader":"Bearer a"}' % query
    job = parse_job(b'{"computeModuleJobV1": %s, "more": 1}' % members if wrapped else members)
    assert (job.job_id, job.query_type, job.user_id, job.auth_header) == ("j", "f", "u", "Bearer a")
    assert bytes(job.query).strip() == query


@pytest.mark.parametrize("query", [b"1", rb'"\ud83d"'])
def test_the_last_of_two_members_counts(query: bytes) -> None:
    text = b'{"jobId":"old","queryType":"old","query":0,"jobId":"j","queryType":"f","query":%s}' % query
    job = parse_job(text)
    assert (job.job_id, job.query_type, job.query) == ("j", "f", query)


@pytest.mark.parametrize("query", [b"1", rb'"\ud83d"'])
def test_names_may_be_escaped(query: bytes) -> None:
    assert parse_job(rb'{"job\u0049d":"j\n\u00e9","query\u0054ype":"f","query":%s}' % query).job_id == "j\né"


def test_empty_envelope_and_nulls() -> None:
    """An empty envelope and null members are ignored."""
    job = parse_job(b'{"computeModuleJobV1":null,"jobId":"j","queryType":"f","query":null,"userId":null}')
    assert (job.query, job.user_id, job.secrets) == (b"null", None, ())


@pytest.mark.parametrize(("written", "read"), [(b"17", "17"), (b"-3", "-3"), (b'"17"', "17")])
def test_a_number_serves_as_job_id(written: bytes, read: str) -> None:
    assert parse_job(b'{"jobId":%s,"queryType":"f","query":1}' % written).job_id == read


@pytest.mark.parametrize("job_id", [b"null", b'""', b"1.5", b"1e3", b"{}", b"[]", b"true", rb'"\ud83d"'])
def test_what_is_no_job_id_makes_no_job(job_id: bytes) -> None:
    error = malformed(b'{"jobId":%s,"queryType":"f","query":1}' % job_id)
    assert error.job_id is None
    assert str(error)


def test_job_without_a_query_type() -> None:
    """A job without a function's name is answered under its id."""
    for query_type in (b"null", b"7", b'["f"]'):
        error = malformed(b'{"jobId":"j","queryType":%s,"query":1}' % query_type)
        assert (error.job_id, error.query_type) == ("j", "")
    assert malformed(b'{"jobId":"j","query":1}').job_id == "j"


@pytest.mark.parametrize("half", [b"", rb',"x":"\ud83d"'])
def test_job_without_a_query(half: bytes) -> None:
    """A job without a query is answered under its id and function."""
    error = malformed(b'{"jobId":"j","queryType":"f"%s}' % half)
    assert (error.job_id, error.query_type, str(error)) == ("j", "f", "the job has no query")


def test_deep_query() -> None:
    """A query of any depth is passed on unchanged."""
    query = b"[" * 5000 + b"]" * 5000
    assert parse_job(b'{"query":%b,"jobId":"j","queryType":"f"}' % query).query == query


def test_an_empty_function_name_is_a_name() -> None:
    assert parse_job(b'{"jobId":"j","queryType":"","query":1}').query_type == ""


@pytest.mark.parametrize(
    "text",
    [
        b'{"jobId":"j","queryType":"f","query":{"a":',
        b'{"computeModuleJobV1":{"jobId" : "j","queryType":"f","query":"cut',
        b'{"jobId":"j","queryType":"f","query":01}',
        b'{"jobId":"j","queryType":"f","query":"\x01"}',
        b'{"jobId":"j","queryType":"f","query":,}',
        rb'{"jobId":"j","queryType":"f","query":"\ud83d"',
        rb'{"jobId":"j","queryType":"f","query":"\ud83d",}',
        rb'{"jobId":"j","queryType":"f","query":"\ud83d" "x":1}',
        rb'{"jobId":"j","queryType" "f","query":"\ud83d"}',
        rb'{"jobId":"j","queryType":"f",7:1,"query":"\ud83d"}',
        rb'{"computeModuleJobV1":["jobId","\ud83d"],"jobId":"j"}',
        b'\xff\xfe{"jobId":"j"}',
        b'{"computeModuleJobV1":7,"jobId":"j"}',
    ],
)
def test_id_of_a_malformed_job(text: bytes) -> None:
    """A malformed job is answered under the id that it contains."""
    assert malformed(text).job_id == "j"


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"null", b"7", b"[]", b'"jobId"', b"{}", b"<html>", b'{"jobId"', b'{"jobId":"', b'{"jobId":"cut'],
)
def test_what_names_no_job_has_no_id(text: bytes) -> None:
    assert malformed(text).job_id is None


def test_an_id_inside_the_query_is_not_the_job_s() -> None:
    assert salvage_job_id(b'{"queryType":"f","query":{"jobId":"inner"') is None
    assert salvage_job_id(b'{"jobId":"outer","query":{"jobId":"inner"') == "outer"
    assert malformed(b'{"queryType":"f","query":{"jobId":"inner"}}').job_id is None


def test_an_id_is_saved_with_its_escapes_undone() -> None:
    assert salvage_job_id(rb'{"jobId" : "a\"b\u00e9\\", "que') == 'a"bé\\'
    assert salvage_job_id(rb'{"jobId":"\ud83d","que') is None
    assert salvage_job_id(b'{"jobId":"\xff","que') is None


def test_query_that_is_not_utf8() -> None:
    """A query that is not UTF-8 is passed on unchanged."""
    assert parse_job(body(b'"\xff\x80"')).query == b'"\xff\x80"'
    assert parse_job(body(b'["\\ud83d","\xff\x80"]')).query == b'["\\ud83d","\xff\x80"]'


def test_repr() -> None:
    """A job's representation contains neither the query nor tokens."""
    job = parse_job(body(b'"the query"', authHeader="Bearer a", temporaryCredentialsAuthToken="tmp", userId="u"))
    assert job.secrets == (b"Bearer a", b"tmp")
    shown = repr(job)
    assert "j-1" in shown
    assert not any(secret in shown for secret in ("the query", "Bearer", "tmp"))


def test_redaction() -> None:
    """The tokens of a job are redacted from a handler's output."""
    job = Job(job_id="j", query_type="f", query=b"", auth_header="Bearer a", temporary_credentials_auth_token="tmp-é")
    assert job.redact("x Bearer a, tmp-é, Bearer a.".encode()) == b"x [redacted], [redacted], [redacted]."
    assert Job(job_id="j", query_type="f", query=b"").redact(b"Bearer a") == b"Bearer a"


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        ([b"abcd", b"Bearer abcd"], b"Bearer abcd, abcd", b"[redacted], [redacted]"),
        ([b"abcd", b"xabcdx"], b"xabcdx abcdx", b"[redacted] [redacted]x"),
        ([b"abcX", b"Xdef"], b"-abcXdef-", b"-[redacted]-"),
        ([b"redacted", b"abcd"], b"abcd", b"[redacted]"),
        ([b"act", b"[red", b"abcd"], b"abcd act", b"[redacted] [redacted]"),
        ([b"abcd"], b"abcdabcd", b"[redacted][redacted]"),
        ([b"a.c", b"(?i)x"], b"abc a.c X", b"abc [redacted] X"),
        ([b"abcd"], b"", b""),
    ],
)
def test_tokens_in_each_other(secrets: list[bytes], text: bytes, expected: bytes) -> None:
    """A token inside another one, beside it, across its end or inside of "[redacted]" is redacted once."""
    assert redact(text, secrets) == expected


def test_many_long_tokens() -> None:
    """The tokens of many callers are redacted together: 80 of 4 KiB, in a chunk of stderr."""
    secrets = [b"%04d" % number * 1024 for number in range(80)]
    text = b"".join(b"token %b\n" % secret for secret in secrets[:16])
    assert redact(text, secrets) == b"token [redacted]\n" * 16
