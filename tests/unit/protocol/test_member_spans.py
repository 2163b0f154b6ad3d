"""The places of an object's members, also where msgspec refuses the text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.protocol.json_text import member_spans

any_text = st.text(st.characters(exclude_categories=[]))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4), max_leaves=20
)
plain_names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'))


def values(text: bytes, at: int = 0) -> dict[str, Any]:
    """Return the members as the json module reads them at their places."""
    return {name: json.loads(text[start:end]) for name, (start, end) in member_spans(text, at).items()}


def same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # NaN is not equal to itself


@given(st.dictionaries(plain_names, any_json, max_size=5), st.none() | st.integers(0, 3), st.booleans())
def test_spans(document: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    """Members are where the json module reads them."""
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert same(values(text), json.loads(text))


@given(st.dictionaries(plain_names, any_json, max_size=3), any_json)
def test_an_inner_object_is_read_at_its_place(inner: dict[str, Any], before: Any) -> None:
    text = json.dumps({"a": before, "inner": inner, "z": before}).encode()
    assert same(values(text, member_spans(text)["inner"][0]), inner)


@given(any_json.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="no object"):
        member_spans(json.dumps(document).encode())


@given(st.dictionaries(plain_names, any_json, min_size=1, max_size=4), st.integers(0, 10_000))
def test_an_object_that_is_cut_off_is_refused(document: dict[str, Any], cut: int) -> None:
    text = json.dumps(document).encode()
    with pytest.raises(ValueError, match=r"object|member|value|comma"):
        member_spans(text[: cut % len(text)])


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b'{"a"}', b'{"a":}', b'{"a":1 2}', b'{"a":1,}', b"{,}", b"{1:2}", b'{"a"::1}', b'{"a":,}', b'{"a":]}'],
)
def test_broken_objects_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"object|member|value|comma"):
        member_spans(text)


@pytest.mark.parametrize("depth", [1_001, 100_000])
def test_depth_does_not_matter(depth: int) -> None:
    nested = b'[{"a":' * depth + b"1" + b"}]" * depth
    text = b'{"query":%b, "jobId" : "j"}' % nested
    spans = member_spans(text)
    assert [text[start:end] for start, end in spans.values()] == [nested, b'"j"']


@pytest.mark.parametrize("value", [rb'"\ud83d"', b'"\x01\x02"', b'"\xff"', b'"}\\"],{"', b'"\\\\"', b"NaN", b"1E400"])
def test_difficult_values(value: bytes) -> None:
    """A value that msgspec rejects, or that contains a brace or quote, has the right span."""
    text = b'{"query":%b,"jobId":"j"}' % value
    start, end = member_spans(text)["query"]
    assert text[start:end] == value


def test_the_last_of_two_members_counts() -> None:
    assert values(b'{"a":1,"a":2}') == {"a": 2}
