"""The functions that are known, and what is wrong with posted schemas."""

import json
from typing import Any

import pytest

from cm_exec.local_runtime.core.functions import FunctionRegistry, FunctionSource

INTEGER = {"type": "integer", "integer": {}}
ADD: dict[str, Any] = {
    "functionName": "add",
    "inputs": [{"name": "x", "required": True, "constraints": [], "dataType": INTEGER}],
    "output": {"type": "single", "single": {"dataType": INTEGER}},
    "ontologyProvenance": None,
}


def post(registry: FunctionRegistry, *schemas: Any) -> list[str]:
    return registry.post(json.dumps(schemas).encode())


def test_a_posted_schema_is_kept_as_it_is() -> None:
    registry = FunctionRegistry()
    assert post(registry, ADD) == []
    entry = registry.get("add")
    assert entry is not None
    assert (entry.source, entry.schema, entry.untyped) == (FunctionSource.SCHEMA, ADD, False)


def test_a_new_post_replaces_the_old() -> None:
    registry = FunctionRegistry()
    post(registry, ADD, {**ADD, "functionName": "gone"})
    post(registry, ADD)
    assert [entry.name for entry in registry.entries] == ["add"]


def test_those_with_a_schema_come_first_and_each_once() -> None:
    registry = FunctionRegistry()
    assert registry.called("called")
    assert not registry.called("called")
    registry.declare({"add": "adds", "declared": "from cm.toml"})
    post(registry, ADD)
    assert not registry.called("add")
    assert [(entry.name, entry.source, entry.description) for entry in registry.entries] == [
        ("add", FunctionSource.SCHEMA, "adds"),
        ("called", FunctionSource.CALLED, None),
        ("declared", FunctionSource.DECLARED, "from cm.toml"),
    ]


def test_names_that_are_only_called_are_bounded() -> None:
    registry = FunctionRegistry()
    for number in range(1000):
        registry.called(f"f{number}")
    assert len(registry.entries) == 200


def test_a_result_is_held_to_the_schema_where_there_is_one() -> None:
    registry = FunctionRegistry()
    assert registry.mismatch("add", b'"x"', streamed=False) is None
    post(registry, ADD)
    assert registry.mismatch("add", b"1", streamed=False) is None
    assert registry.mismatch("add", b'"x"', streamed=False) == "the result is a string; declared is integer"


def test_what_nobody_declared_is_not_held_to_anything() -> None:
    registry = FunctionRegistry()
    string = {"type": "single", "single": {"dataType": {"type": "string", "string": {}}}}
    post(registry, {**ADD, "inputs": [], "output": string})
    assert registry.mismatch("add", b'{"a": 1}', streamed=False) is None


def typed(data_type: Any) -> dict[str, Any]:
    return {**ADD, "output": {"type": "single", "single": {"dataType": data_type}}}


@pytest.mark.parametrize(
    ("body", "sentences"),
    [
        (b"[", ["the schemas are not JSON: Input data was truncated"]),
        (json.dumps(ADD).encode(), ["the schemas are one object; the endpoint takes an array"]),
        (b"[1]", ["schema 0 is not an object"]),
        (b'[{"functionName": ""}]', ["schema 0 has no functionName"]),
        (b'[{"functionName": "f"}]', ["f: inputs is not an array", "f: output is neither single nor void"]),
    ],
)
def test_a_wrong_post_is_explained(body: bytes, sentences: list[str]) -> None:
    assert FunctionRegistry().post(body) == sentences


@pytest.mark.parametrize(
    ("data_type", "sentence"),
    [
        (None, "add: the output has no dataType"),
        ({"type": "string"}, "add: the output: the type 'string' has no member of that name"),
        ({"type": "text", "text": {}}, "add: the output: 'text' is not a known type"),
        ({"type": "list", "list": {}}, "add: the output: elementsType has no dataType"),
        ({"type": "anonymousCustomType", "anonymousCustomType": {}}, "add: the output: a struct without fields"),
        (
            {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"x": {"type": "list"}}}},
            "add: the output.x: the type 'list' has no member of that name",
        ),
    ],
)
def test_a_wrong_type_is_explained(data_type: Any, sentence: str) -> None:
    assert post(FunctionRegistry(), typed(data_type)) == [sentence]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dataType": INTEGER}, "add: an input has no name"),
        ({"name": "x"}, "add: input x has no dataType"),
    ],
)
def test_a_wrong_input_is_explained(given: Any, sentence: str) -> None:
    assert post(FunctionRegistry(), {**ADD, "inputs": [given]}) == [sentence]


def test_all_kinds_of_types_are_known() -> None:
    inner = {
        "type": "map",
        "map": {"keysType": INTEGER, "valuesType": {"type": "set", "set": {"elementsType": INTEGER}}},
    }
    struct = {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"a": inner}}}
    assert post(FunctionRegistry(), typed({"type": "optionalType", "optionalType": {"wrappedType": struct}})) == []
    assert post(FunctionRegistry(), {**ADD, "output": {"type": "void", "void": {}}}) == []
