"""The registry of functions, and the mistakes in posted schemas."""

import json
from typing import Any

import pytest

from cm_exec.local_runtime.core.functions import FunctionInfo, FunctionRegistry, FunctionSource

NOT_A_TYPE = "a type is an object with the name of the type at `type` and its parts at that name"
INTEGER = {"type": "integer", "integer": {}}
ADD: dict[str, Any] = {
    "functionName": "add",
    "inputs": [{"name": "x", "required": True, "constraints": [], "dataType": INTEGER}],
    "output": {"type": "single", "single": {"dataType": INTEGER}},
    "ontologyProvenance": None,
}


def post(registry: FunctionRegistry, *schemas: Any) -> list[str]:
    return registry.post(json.dumps(schemas).encode())


def test_posted_schema() -> None:
    """A posted schema is stored unchanged."""
    registry = FunctionRegistry()
    assert post(registry, ADD) == []
    entry = registry.get("add")
    assert entry is not None
    assert (entry.source, entry.schema, entry.untyped) == (FunctionSource.SCHEMA, ADD, False)


def test_second_post() -> None:
    """A new post replaces the previous one."""
    registry = FunctionRegistry()
    post(registry, ADD, {**ADD, "functionName": "gone"})
    post(registry, ADD)
    assert [entry.name for entry in registry.entries] == ["add"]


def test_order() -> None:
    """The functions with a schema come first, and each function is listed once."""
    registry = FunctionRegistry()
    assert registry.answered("called")
    assert not registry.answered("called")
    registry.declare({"add": FunctionInfo(description="adds"), "declared": FunctionInfo(description="from cm.toml")})
    post(registry, ADD)
    assert not registry.answered("add")
    assert [(entry.name, entry.source, entry.info.description) for entry in registry.entries] == [
        ("add", FunctionSource.SCHEMA, "adds"),
        ("called", FunctionSource.CALLED, None),
        ("declared", FunctionSource.DECLARED, "from cm.toml"),
    ]


def test_limit_of_names() -> None:
    """The number of functions that are known only from calls is limited."""
    registry = FunctionRegistry()
    for number in range(1000):
        registry.answered(f"f{number}")
    assert len(registry.entries) == 200


def test_result_check() -> None:
    """A result is checked against the schema if there is one."""
    registry = FunctionRegistry()
    assert registry.mismatch("add", b'"x"', streamed=False) is None
    post(registry, ADD)
    assert registry.mismatch("add", b"1", streamed=False) is None
    assert registry.mismatch("add", b'"x"', streamed=False) == (
        "the result is not of the declared type: $: expected an integer of 32 bits, found a string of 1 character"
    )


LIST = {"type": "list", "list": {"elementsType": INTEGER}}
STRUCT = {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"a": INTEGER}}}


@pytest.mark.parametrize(
    ("declared", "body", "fits"),
    [
        ("long", b'"9007199254740993"', True),
        ("double", b'"NaN"', True),
        ("byte", b"65", True),
        ("date", b'"2024-02-29"', True),
        ("date", b'"2024-99-99"', False),
        ("decimal", b'"abc"', False),
        (STRUCT, b'{"a": 1, "b": 2}', False),
        (STRUCT, b'{"a": 1}', True),
        (LIST, b"[1, 2]", True),
        (LIST, b"[1, null]", False),
        ("binary", b'"iVBORw0K"', True),
        ("binary", b"\x89PNG\r\n", True),
        ("double", b"NaN", False),
    ],
)
def test_result_types(declared: Any, body: bytes, fits: bool) -> None:
    """Results are checked as `run` and `test` check them."""
    registry = FunctionRegistry()
    data_type = {"type": declared, declared: {}} if isinstance(declared, str) else declared
    assert post(registry, typed(data_type)) == []
    assert (registry.mismatch("add", body, streamed=False) is None) is fits


@pytest.mark.parametrize(
    ("body", "fits"), [(b"[1, 2]", True), (b"1 2\n3", True), (b"1 true", False), (b"", True), (b"1 [", False)]
)
def test_streamed_list(body: bytes, fits: bool) -> None:
    """A streamed list is one value or its elements."""
    registry = FunctionRegistry()
    post(registry, typed(LIST))
    assert (registry.mismatch("add", body, streamed=True) is None) is fits


def test_untyped_function() -> None:
    """A result is not checked against the schema that the SDKs post for a function without types."""
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
def test_invalid_post(body: bytes, sentences: list[str]) -> None:
    """An invalid post gets an explanation."""
    assert FunctionRegistry().post(body) == sentences


@pytest.mark.parametrize(
    ("data_type", "sentence"),
    [
        (None, f"add: the output: {NOT_A_TYPE}"),
        ({"type": "text", "text": {}}, "add: the output: the protocol has no type text"),
        ({"type": "list", "list": {}}, f"add: the output: {NOT_A_TYPE}"),
        (
            {"type": "anonymousCustomType", "anonymousCustomType": {}},
            "add: the output: an anonymousCustomType has fields",
        ),
        (
            {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"x": {"type": "list"}}}},
            f"add: the output: {NOT_A_TYPE}",
        ),
    ],
)
def test_invalid_type(data_type: Any, sentence: str) -> None:
    """An invalid type gets an explanation."""
    assert post(FunctionRegistry(), typed(data_type)) == [sentence]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dataType": INTEGER}, "add: an input has no name"),
        ({"name": "x"}, f"add: input x: {NOT_A_TYPE}"),
    ],
)
def test_invalid_input(given: Any, sentence: str) -> None:
    """An invalid input gets an explanation."""
    assert post(FunctionRegistry(), {**ADD, "inputs": [given]}) == [sentence]


def test_kinds_of_types() -> None:
    """A schema may use all kinds of types."""
    inner = {
        "type": "map",
        "map": {"keysType": INTEGER, "valuesType": {"type": "set", "set": {"elementsType": INTEGER}}},
    }
    struct = {"type": "anonymousCustomType", "anonymousCustomType": {"fields": {"a": inner}}}
    assert post(FunctionRegistry(), typed({"type": "optionalType", "optionalType": {"wrappedType": struct}})) == []
    assert post(FunctionRegistry(), {**ADD, "output": {"type": "void", "void": {}}}) == []
