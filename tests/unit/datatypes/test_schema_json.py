"""Data types as the protocol's JSON."""

from typing import Any

import pytest
from hypothesis import given

from cm_exec.datatypes import SIMPLE_NAMES, DataType, TypeJsonError, type_from_json, type_json
from cm_exec.datatypes.syntax import parse_type
from tests.support.data_types import data_types

STRING = {"type": "string", "string": {}}
INTEGER = {"type": "integer", "integer": {}}


@pytest.mark.parametrize("name", SIMPLE_NAMES)
def test_a_simple_type_has_an_empty_body(name: str) -> None:
    assert type_json(parse_type(name)) == {"type": name, name: {}}


@pytest.mark.parametrize(
    ("text", "json"),
    [
        ("decimal", {"type": "decimal", "decimal": {}}),
        ("decimal(10)", {"type": "decimal", "decimal": {"precision": 10}}),
        ("decimal(10, 0)", {"type": "decimal", "decimal": {"precision": 10, "scale": 0}}),
        ("decimal(*, 2)", {"type": "decimal", "decimal": {"scale": 2}}),
        ("list<string>", {"type": "list", "list": {"elementsType": STRING}}),
        ("set<string>", {"type": "set", "set": {"elementsType": STRING}}),
        ("map<string, integer>", {"type": "map", "map": {"keysType": STRING, "valuesType": INTEGER}}),
        ("optional<string>", {"type": "optionalType", "optionalType": {"wrappedType": STRING}}),
        (
            "struct<a: string, b: optional<integer>>",
            {
                "type": "anonymousCustomType",
                "anonymousCustomType": {
                    "fields": {
                        "a": STRING,
                        "b": {"type": "optionalType", "optionalType": {"wrappedType": INTEGER}},
                    }
                },
            },
        ),
    ],
)
def test_a_type_is_the_protocols_tagged_union(text: str, json: dict[str, Any]) -> None:
    assert type_json(parse_type(text)) == json


def test_field_metadata() -> None:
    """As soon as one field has metadata, all fields have it."""
    body = type_json(parse_type('struct<a: string, b: string "the second", c?: string>'))["anonymousCustomType"]
    assert body["fieldMetadata"] == {
        "a": {"required": True},
        "b": {"required": True, "documentation": "the second"},
        "c": {"required": False},
    }


@given(data_types)
def test_what_is_written_is_read_as_the_same(type_: DataType) -> None:
    assert type_from_json(type_json(type_)) == type_


@pytest.mark.parametrize(
    "json",
    [
        None,
        3,
        {},
        {"type": 3},
        {"type": "objectSet", "objectSet": {}},
        {"type": "string", "string": 3},
        {"type": "list", "list": {}},
        {"type": "list"},
        {"type": "decimal", "decimal": {"precision": "3"}},
        {"type": "anonymousCustomType", "anonymousCustomType": {"fields": []}},
        {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"a": None}}},
    ],
)
def test_what_is_no_type_is_refused(json: object) -> None:
    with pytest.raises(TypeJsonError):
        type_from_json(json)


def test_what_is_nested_without_end_is_refused() -> None:
    json: dict[str, Any] = {"type": "list"}
    json["list"] = {"elementsType": json}
    with pytest.raises(TypeJsonError, match="nested"):
        type_from_json(json)
