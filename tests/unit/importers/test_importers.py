"""Functions that are described elsewhere become a cm.toml that says the same."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.config import Function, HttpRequest
from cm_exec.config.load import parse_config
from cm_exec.datatypes import DataType
from cm_exec.datatypes.syntax import type_text
from cm_exec.importers import import_python_toml, import_toml
from cm_exec.importers.declarations import DescriptionError
from cm_exec.protocol.function_schema import FunctionSchema, Input, Range, Returns, schemas_body
from tests.support.data_types import data_types, descriptions, odd_names


def read(document: object) -> tuple[dict[str, Function], list[str]]:
    text, notes = import_toml(json.dumps(document).encode(), "file")
    return dict(parse_config(text, path=Path("/srv/cm.toml")).functions), notes


def input_types(function: Function) -> dict[str, str]:
    return {each.name: type_text(each.type) for each in function.inputs or ()}


def type_of(schema: object, **definitions: object) -> tuple[str, list[str]]:
    """Return the type of one required member of a query, and the notes."""
    document = {"properties": {"x": schema}, "required": ["x"], "$defs": definitions}
    functions, notes = read(document)
    return input_types(functions["file"])["x"], notes


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "uuid"}, "string"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "timestamp"),
        ({"type": "string", "contentEncoding": "base64"}, "binary"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "integer"}, "long"),
        ({"type": "integer", "format": "int32"}, "integer"),
        ({"type": "integer", "minimum": 0, "maximum": 100}, "integer"),
        ({"type": "integer", "minimum": 0}, "long"),
        ({"type": "integer", "format": "int32", "maximum": 2**32 - 1}, "long"),
        ({"type": "integer", "minimum": 0, "maximum": 2**53}, "long"),
        ({"type": "number"}, "double"),
        ({"type": "number", "format": "float"}, "float"),
        ({"enum": ["a", "b"]}, "string"),
        ({"const": 3}, "long"),
        ({"type": "array", "items": {"type": "string"}}, "list<string>"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "set<string>"),
        ({"type": "array"}, "list<unknown>"),
        ({"type": "object"}, "map<string, unknown>"),
        ({"additionalProperties": {"type": "number"}}, "map<string, double>"),
        (
            {
                "properties": {"a": {"type": "string", "description": 'the "a"'}, "b c": {"type": "boolean"}},
                "required": ["a"],
            },
            'struct<a: string "the \\"a\\"", "b c": optional<boolean>>',
        ),
        ({"type": ["string", "null"]}, "optional<string>"),
        ({"type": "string", "nullable": True}, "optional<string>"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "optional<string>"),
        ({"oneOf": [{"type": "string"}, {"enum": ["a"]}]}, "string"),
        ({"allOf": [{"type": "string"}], "description": "x"}, "string"),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "string"}}},
                ]
            },
            "struct<a: string, b: optional<string>>",
        ),
        ({"allOf": [{"type": "string", "enum": ["a"]}, {"description": "x"}]}, "string"),
        ({"allOf": [{"type": "array", "items": {"type": "string"}}, {"minItems": 1}]}, "list<string>"),
        ({"allOf": [{"properties": {"a": {"type": "string"}}}], "required": ["a"]}, "struct<a: string>"),
        ({"allOf": [{"type": "string", "nullable": True}, {"maxLength": 3}]}, "optional<string>"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            "struct<a: optional<string>, b: optional<string>>",
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null", "description": "none"}]}, "optional<string>"),
        ({"oneOf": [{"type": "string"}, {"const": None}]}, "optional<string>"),
        ({"oneOf": [{"type": "string"}, {"enum": [None]}]}, "optional<string>"),
        ({"enum": ["a", None]}, "optional<string>"),
        (
            {
                "properties": {
                    "id": {"type": "string", "readOnly": True},
                    "key": {"type": "string", "writeOnly": True},
                },
                "required": ["id", "key"],
            },
            "struct<id: optional<string>, key: optional<string>>",
        ),
        (
            {"properties": {"a": {"type": "string"}}, "additionalProperties": False, "required": ["a"]},
            "struct<a: string>",
        ),
        (True, "unknown"),
    ],
)
def test_json_schema(schema: object, type_: str) -> None:
    """A JSON Schema becomes the equivalent type."""
    assert type_of(schema) == (type_, [])


@pytest.mark.parametrize(
    ("schema", "type_", "why"),
    [
        ({}, "unknown", "its schema has no type"),
        ({"type": ["string", "integer"]}, "unknown", "the platform has no type"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "unknown", "the platform has no oneOf"),
        ({"type": "array", "prefixItems": [{}]}, "list<unknown>", "the platform has no tuples"),
        (
            {"properties": {"a": {"type": "string"}}, "additionalProperties": True},
            "unknown",
            "no objects with further members",
        ),
        (
            {"properties": {"a": {"type": "string"}}, "oneOf": [{"properties": {"b": {"type": "string"}}}]},
            "unknown",
            "the platform has no oneOf",
        ),
    ],
)
def test_unsupported_schema(schema: object, type_: str, why: str) -> None:
    """A schema without an equivalent type becomes unknown, with a note."""
    found, (note,) = type_of(schema)
    assert found == type_
    assert note.startswith("file.x is unknown: ")
    assert why in note


def test_definitions() -> None:
    """A definition keeps its name, and a recursive one ends in unknown."""
    tree = {"properties": {"name": {"$ref": "#/$defs/string"}, "kids": {"items": {"$ref": "#/$defs/Tree"}}}}
    text, notes = import_toml(
        json.dumps(
            {
                "title": "grow",
                "properties": {"tree": {"$ref": "#/$defs/Tree"}, "other": {"$ref": "#/$defs/Tree"}},
                "$defs": {"Tree": tree, "string": {"type": ["null", "string"]}},
            }
        ).encode(),
        "file",
    )
    assert notes == ["Tree.kids[] is unknown: a type of the platform cannot contain itself"]
    assert '\n[types]\nstring_ = "optional<string>"\n' in text
    assert '\n[types.Tree]\nname = "string_"\nkids = "optional<list<unknown>>"\n' in text
    (function,) = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert function.name == "grow"
    assert set(input_types(function).values()) == {
        "optional<struct<name: optional<string>, kids: optional<list<unknown>>>>"
    }


@pytest.mark.parametrize(
    ("name", "reference", "type_name"),
    [
        ("Page[Item]", "#/$defs/Page%5BItem%5D", "Page_Item_"),
        ("a/b", "#/$defs/a~1b", "a_b"),
        ("list", "#/$defs/list/allOf/0", "_0"),
    ],
)
def test_reference(name: str, reference: str, type_name: str) -> None:
    """A reference is a JSON pointer in a URL."""
    definition = {"allOf": [{"properties": {"a": {"type": "string"}}}]}
    document = {"properties": {"x": {"$ref": reference}}, "$defs": {name: definition}}
    text, notes = import_toml(json.dumps(document).encode(), "file")
    assert f'[types.{type_name}]\na = "optional<string>"\n' in text
    assert not notes


def test_a_definition_that_is_a_part_of_itself() -> None:
    """It ends: without a memory for what is being merged this takes 2 to the power of the nesting."""
    itself = {"$ref": "#/$defs/A"}
    definition = {"allOf": [itself, itself, itself], "properties": {"a": {"type": "string"}}}
    assert type_of(itself, A=definition) == ("struct<a: optional<string>>", [])


def test_byte_order_mark() -> None:
    text, _ = import_toml(b'\xef\xbb\xbf{"properties": {"a": {"type": "string"}}}', "file")
    assert 'a = "optional<string>"' in text


def test_a_query_with_further_members() -> None:
    """The inputs are those with a name, and a note says that there are no others."""
    schema = {"properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": {"type": "integer"}}
    for document, name in ((schema, "file"), (operation("post", "/x", requestBody=json_body(schema)), "f")):
        functions, (note,) = read(document)
        assert input_types(functions[name]) == {"a": "string"}
        assert note.startswith(f"{name} takes only ")


@pytest.mark.parametrize(
    ("schema", "low", "high"),
    [
        ({"type": ["integer", "null"], "minimum": 5}, 5, None),
        ({"anyOf": [{"type": "integer", "minimum": 5}, {"type": "null"}]}, 5, None),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}, 1, 8),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False}, 1, 9),
        ({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, 0, None),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, None, None),
        ({"type": "number", "exclusiveMinimum": 0}, 0, None),
        ({"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**32 - 1}, 0, 2**32 - 1),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, None, None),
        ({"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}, -(2**31), 2**31 - 1),
    ],
)
def test_range(schema: object, low: int | None, high: int | None) -> None:
    (function,) = read({"properties": {"n": schema}})[0].values()
    (each,) = function.inputs or ()
    assert (getattr(each.range, "min", None), getattr(each.range, "max", None)) == (low, high)


def test_inputs() -> None:
    """Inputs have their ranges and descriptions."""
    schema = {"type": "integer", "minimum": 1, "maximum": 9.0, "description": "how many"}
    for required in ([], ["n"]):
        (function,) = read({"properties": {"n": schema}, "required": required})[0].values()
        (each,) = function.inputs or ()
        assert each.description == "how many"
        assert each.range == Range(kind="integer", min=1, max=9)


THING = {"$ref": "#/components/schemas/Thing"}
OPENAPI: dict[str, Any] = {
    "openapi": "3.0.3",
    "paths": {
        "/things/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                {"$ref": "#/components/parameters/Trace"},
            ],
            "get": {
                "operationId": "getThing",
                "summary": "One thing",
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "description": "at most",
                        "schema": {"type": "integer", "format": "int32"},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "the thing",
                        "content": {
                            "application/json; charset=utf-8": {"schema": {"$ref": "#/components/schemas/Thing"}}
                        },
                    }
                },
            },
            "put": {
                "requestBody": {"$ref": "#/components/requestBodies/Thing"},
                "responses": {"204": {"description": "done"}},
            },
        },
        "/search": {
            "post": {
                "operationId": "search",
                "requestBody": {"content": {"application/json": {"schema": {"properties": {"q": {"type": "string"}}}}}},
                "responses": {"default": {"description": "a picture", "content": {"image/png": {}}}},
            }
        },
    },
    "components": {
        "parameters": {"Trace": {"name": "X-Trace", "in": "header", "schema": {"type": "string"}}},
        "requestBodies": {
            "Thing": {
                "required": True,
                "content": {"application/json": {"schema": THING}},
            }
        },
        "schemas": {"Thing": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
    },
}


def test_each_operation_of_openapi_is_a_function() -> None:
    functions, notes = read(OPENAPI)
    assert list(functions) == ["getThing", "put_things_id", "search"]
    assert input_types(functions["getThing"]) == {"id": "string", "limit": "optional<integer>"}
    assert functions["getThing"].description == "One thing"
    thing = "struct<id: string>"
    assert described(functions["getThing"].returns) == (thing, "the thing")
    assert input_types(functions["put_things_id"]) == {"id": "string"}
    assert functions["put_things_id"].returns == Returns(type=None)
    assert input_types(functions["search"]) == {"q": "optional<string>"}
    assert described(functions["search"].returns) == ("binary", "a picture")
    assert notes == ["getThing: the header X-Trace is left out", "put_things_id: the header X-Trace is left out"]
    service = functions["search"].service
    assert service is not None
    assert (service.name, service.protocol, service.url) == ("api", "http", "http://127.0.0.1:8000")
    assert service.command is None
    assert [function.request for function in functions.values()] == [
        HttpRequest(method="GET", path="/things/{id}", path_inputs=("id",), query=("limit",)),
        HttpRequest(method="PUT", path="/things/{id}", path_inputs=("id",)),
        HttpRequest(method="POST", path="/search"),
    ]


def operation(method: str, path: str, **members: object) -> dict[str, Any]:
    responses = {"200": {"description": "done"}}
    return {"openapi": "3.1.0", "paths": {path: {method: {"operationId": "f", "responses": responses, **members}}}}


def json_body(schema: object) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def test_a_body_that_is_no_object_is_one_input() -> None:
    numbers = {"type": "array", "items": {"type": "number"}}
    functions, _ = read(operation("post", "/predict", requestBody=json_body(numbers)))
    assert input_types(functions["f"]) == {"body": "list<double>"}
    assert functions["f"].request == HttpRequest(method="POST", path="/predict", body="body")


@pytest.mark.parametrize(
    ("url", "found", "path"),
    [
        ("http://localhost:9000/v1/", "http://127.0.0.1:9000", "/v1/x"),
        ("https://example.com/api", "http://127.0.0.1:8000", "/api/x"),
        ("/", "http://127.0.0.1:8000", "/x"),
        ("http://localhost:port", "http://127.0.0.1:8000", "/x"),
        ("https://{region}.example.com:{port}/{base}/v1", "http://127.0.0.1:9000", "/api/v1/x"),
    ],
)
def test_the_server_is_on_this_machine(url: str, found: str, path: str) -> None:
    variables = {name: {"default": value} for name, value in (("region", "eu"), ("port", "9000"), ("base", "api"))}
    functions, _ = read(operation("get", "/x") | {"servers": [{"url": url, "variables": variables}]})
    service, request = functions["f"].service, functions["f"].request
    assert service is not None
    assert request is not None
    assert (service.url, request.path) == (found, path)


def test_a_request_that_no_job_can_be_is_left_out() -> None:
    document = operation("get", "/a b", requestBody=json_body({"properties": {"a": {"type": "string"}}}))
    document["paths"]["/a b"]["head"] = {}
    functions, notes = read(document)
    request = functions["f"].request
    assert request is not None
    assert (request.path, functions["f"].inputs) == ("/a%20b", ())
    assert notes == [
        "HEAD /a b is left out: no job can be such a request",
        "f: the body is left out: a GET request has none",
    ]


def test_an_operation_with_a_server_of_its_own() -> None:
    document = operation("get", "/x", servers=[{"url": "/v2"}]) | {"servers": [{"url": "/v1"}]}
    document["paths"]["/y"] = {"get": {}}
    functions, _ = read(document)
    assert [each.request and each.request.path for each in functions.values()] == ["/v2/x", "/v1/y"]


def test_operations_without_a_name() -> None:
    """Each gets a name of its own from its path."""
    document = operation("get", "/x") | {"paths": {"/a": {"get": {}}, "/a/": {"get": {}}, "/a-": {"get": {}}}}
    document["paths"]["/b"] = {"get": {"operationId": "get_a"}}
    functions, _ = read(document)
    assert list(functions) == ["get_a_", "get_a__", "get_a___", "get_a"]
    document["paths"]["/c"] = {"get": {"operationId": "get_a"}}
    with pytest.raises(DescriptionError, match="two operations have the name get_a"):
        read(document)


STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}


@pytest.mark.parametrize(
    ("path", "parameter", "inputs", "query", "why"),
    [
        ("/u/{a b}", {"in": "path", "name": "a b", "schema": STRING}, {"a b": "string"}, (), None),
        ("/u/{größe}", {"in": "path", "name": "größe", "schema": STRING}, {"größe": "string"}, (), None),
        ("/u/{id}", {"in": "path", "name": "other", "schema": STRING}, {"id": "string"}, (), "path other is left out"),
        ("/u", {"in": "query", "name": "q[]", "schema": STRINGS}, {"q[]": "optional<list<string>>"}, ("q[]",), None),
        (
            "/u",
            {"in": "query", "name": "q", "schema": STRINGS, "explode": False},
            {"q": "optional<list<string>>"},
            ("q",),
            "q is sent repeated, not in the style form",
        ),
        (
            "/u",
            {"in": "query", "name": "q", "schema": {"type": "object"}, "style": "deepObject"},
            {"q": "optional<map<string, unknown>>"},
            ("q",),
            "q is sent as JSON text, not in the style deepObject",
        ),
        (
            "/u/{id}",
            {"in": "path", "name": "id", "schema": STRINGS},
            {"id": "list<string>"},
            (),
            "id is sent as JSON text, not in the style simple",
        ),
    ],
)
def test_parameter(
    path: str, parameter: object, inputs: dict[str, str], query: tuple[str, ...], why: str | None
) -> None:
    """A parameter is an input; where the server expects another form than it gets, a note says so."""
    functions, notes = read(operation("get", path, parameters=[parameter]))
    request = functions["f"].request
    assert request is not None
    assert (request.path, input_types(functions["f"]), request.query) == (path, inputs, query)
    assert (why or "") in "".join(notes)
    assert bool(notes) is (why is not None)


def test_a_parameter_and_a_member_of_the_body_with_the_same_name() -> None:
    body = {"properties": {"id": {"type": "integer"}, "n": {"type": "string"}}, "required": ["id", "n"]}
    parameter = {"in": "path", "name": "id", "required": True, "schema": STRING}
    functions, notes = read(operation("put", "/u/{id}", parameters=[parameter], requestBody=json_body(body)))
    assert input_types(functions["f"]) == {"id": "string", "n": "string"}
    assert notes == ["f: the parameter and the member id of the body are one input"]


@pytest.mark.parametrize(
    ("responses", "returns", "output"),
    [
        ({"200": {"content": {"*/*": {"schema": STRINGS}}}}, "list<string>", "bytes"),
        ({"200": {"content": {"*/*": {"schema": STRING}}}}, "binary", "bytes"),
        ({"200": {"content": {"Application/JSON ; charset=utf-8": {"schema": STRING}}}}, "string", "bytes"),
        ({"200": {"content": {"text/plain": {"schema": STRING}, "text/csv": {}}}}, "string", "text"),
        ({"200": {"content": {"text/event-stream": {}}}}, "binary", "bytes"),
        ({"204": {}, "200": {"content": {"application/json": {"schema": STRING}}}}, "string", "bytes"),
    ],
)
def test_response(responses: object, returns: str, output: str) -> None:
    functions, _ = read(operation("get", "/x", responses=responses))
    assert described(functions["f"].returns) == (returns, None)
    assert functions["f"].output == output


def test_command_of_a_server() -> None:
    """The imported file is complete once the server's command is uncommented."""
    text, _ = import_toml(json.dumps(OPENAPI).encode(), "file")
    whole = text.replace("# command =", "command =")
    (service,) = parse_config(whole, path=Path("/srv/cm.toml")).services.values()
    assert service.argv == ("uvicorn", "main:app", "--port", "8000")


def described(returns: Returns | None) -> tuple[str, str | None]:
    assert returns is not None
    assert returns.type is not None
    return type_text(returns.type), returns.description


@given(
    odd_names,
    st.dictionaries(odd_names, st.tuples(data_types, st.booleans(), descriptions), max_size=3),
    data_types,
    st.lists(odd_names, unique=True, max_size=2),
)
def test_round_trip(
    name: str, inputs: dict[str, tuple[DataType, bool, str | None]], returns: DataType, edits: list[str]
) -> None:
    """Importing published schemas yields a file that publishes the same schemas."""
    schema = FunctionSchema(
        name=name,
        inputs=tuple(
            Input(name=each, type=type_, required=required, description=visible(description))
            for each, (type_, required, description) in inputs.items()
        ),
        returns=Returns(type=returns),
        edits=tuple(edits),
    )
    body = schemas_body([schema])
    text, notes = import_toml(body, "file")
    functions = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert schemas_body(function.schema for function in functions) == body
    assert not notes


def visible(description: str | None) -> str | None:
    """Generate a description that cm.toml accepts: not blank, and without NUL."""
    cleaned = (description or "").replace("\0", "").strip()
    return cleaned or None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"openapi: 3.0.0", "not valid JSON"),
        (b"3", "expected OpenAPI, a JSON Schema, or published function schemas"),
        (b"[3]", "expected an array of function schemas"),
        (b'{"type": "string"}', "a query is an object"),
        (b'{"swagger": "2.0"}', "Swagger 2"),
        (b'{"openapi": "4.0.0"}', "expected version 3"),
        (b'{"openapi": "3.0.0", "paths": {}}', "it has no operations"),
        (b'{"properties": {"x": {"$ref": "other.json#/X"}}}', "is in another file"),
        (b'{"properties": {"x": {"$ref": "#/$defs/X"}}}', "has no target"),
        (b'{"$ref": "#"}', "refers to itself"),
        (b'{"title": "a\\nb", "properties": {"x": {"type": "string"}}}', "cm.toml cannot express it"),
        (
            b'[{"functionName": "f", "output": {"type": "single", "single": {"dataType": {"type": "objectSet"}}}}]',
            "objectSet",
        ),
    ],
)
def test_invalid_description(content: bytes, message: str) -> None:
    """A description that cannot be imported is rejected with the reason."""
    with pytest.raises(DescriptionError, match=message):
        import_toml(content, "file")


WORDS = [
    "type",
    "properties",
    "items",
    "$ref",
    "allOf",
    "anyOf",
    "required",
    "enum",
    "additionalProperties",
    "title",
    "description",
    "minimum",
    "default",
    "name",
    "in",
    "string",
    "object",
    "array",
    "null",
    "query",
    "paths",
    "get",
    "x",
    "responses",
    "200",
    "content",
    "application/json",
    "schema",
    "parameters",
    "requestBody",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*WORDS, "#", "#/properties/x", "#/paths/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=16,
)
operations = st.fixed_dictionaries(
    {"openapi": st.just("3.0.0"), "paths": st.fixed_dictionaries({"/x": st.fixed_dictionaries({"get": json_values})})}
)


@given(json_values | operations | st.fixed_dictionaries({"properties": json_values}))
def test_any_json_is_taken_over_or_refused(document: Any) -> None:
    try:
        text, _ = import_toml(json.dumps(document).encode(), "file")
    except DescriptionError:
        return
    assert parse_config(text, path=Path("/srv/cm.toml")).functions


HANDLERS = """
import datetime, enum
from dataclasses import dataclass
from typing import Dict, List, Literal, NewType, Optional, TypedDict, Union

print("noise")

Long = NewType("Long", int)
Name = NewType("Name", str)

class Color(enum.Enum):
    RED = "red"

@dataclass
class Point:
    x: float
    color: Optional[Color] = None
    label: str = ""

class Event(TypedDict):
    points: List[Point]
    size: Long

@dataclass
class Tree:
    kids: "List[Tree]"

def plain(context, a: int, b: Literal["x", "y"] = "x", *, when: datetime.date) -> Dict[Name, Point]: ...
def event(context, event: Event) -> None: ...
def nullable(a: Literal[None, 1]) -> Optional[Literal["x"]]: ...
def untyped(x): ...
def recursive(tree: Tree) -> int: ...
def starred(*numbers: int) -> int: ...
def pair(a: "tuple[int, str]") -> int: ...
def missing(a: "Nothing") -> int: ...

class AddObject: ...
class ModifyObject: ...
class DeleteObject: ...
class AddLink: ...
class RemoveLink: ...

OntologyEdit = Union[AddObject, ModifyObject, DeleteObject, AddLink, RemoveLink]

class Flight:
    @classmethod
    def api_name(cls): return "Flight"

class Function:  # as `@function` of the official SDK returns it
    def __init__(self, function, edits):
        self.__wrapped__, self.edits = function, edits
    def __call__(self, *args): return self.__wrapped__(*args)

def cancel(context, event: Event) -> List[OntologyEdit]: ...
cancel = Function(cancel, [Flight])
"""

LATER_HINTS = """
from __future__ import annotations
import dataclasses
from typing import *

class Whole(TypedDict):
    a: int
    b: NotRequired[str]

class Part(TypedDict, total=False):
    a: Required[int]
    b: str

class Both(Part):
    c: NotRequired[int]

@dataclasses.dataclass
class Sum:
    parts: list[int]
    total: int = dataclasses.field(init=False)

Odd = NewType("Odd", Annotated[int, "odd"])

def f(whole: Whole, part: Part, both: Both, sum: Sum, odd: Odd) -> int: ...
def bare(x: list) -> int: ...
def mapping(x: Dict) -> int: ...
def union(x: int | str) -> int: ...
"""

POINT = "struct<x: float, color: optional<string>, label?: string>"


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "later.py").write_text(LATER_HINTS)
    (tmp_path / "broken.py").write_text("print('noise')\nraise ValueError('no')\n")
    (tmp_path / "ending.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("name", "inputs", "returns"),
    [
        ("plain", {"a": "integer", "b": "string", "when": "date"}, f"map<string, {POINT}>"),
        ("event", {"points": f"list<{POINT}>", "size": "long"}, None),
        ("nullable", {"a": "optional<integer>"}, "optional<string>"),
    ],
)
def test_python_hints(name: str, inputs: dict[str, str], returns: str | None) -> None:
    """The hints of a Python function become its types."""
    text, notes = import_python_toml(f"handlers:{name}", sys.executable)
    (function,) = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert function.name == name
    assert input_types(function) == inputs
    assert function.returns is not None
    assert (function.returns.type and type_text(function.returns.type)) == returns
    assert [each.name for each in function.inputs or () if not each.required] == (["b"] if name == "plain" else [])
    assert not notes


@pytest.mark.usefixtures("handlers")
def test_hints_that_are_texts() -> None:
    """What is required does not depend on `from __future__ import annotations`."""
    text, _ = import_python_toml("later:f", sys.executable)
    (function,) = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert input_types(function) == {
        "whole": "struct<a: integer, b?: string>",
        "part": "struct<a: integer, b?: string>",
        "both": "struct<a: integer, b?: string, c?: integer>",
        "sum": "struct<parts: list<integer>, total?: integer>",
        "odd": "integer",
    }


@pytest.mark.usefixtures("handlers")
def test_function_without_a_hint_for_its_result() -> None:
    """Nothing is known of the result, so nothing is checked, and a note says so."""
    text, notes = import_python_toml("handlers:untyped", sys.executable)
    (function,) = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert input_types(function) == {"x": "unknown"}
    assert function.returns is None
    assert notes == ["untyped has no type hint for its result: `returns` is left out, and no result is checked"]


@pytest.mark.usefixtures("handlers")
def test_edits_of_a_python_function() -> None:
    text, notes = import_python_toml("handlers:cancel", sys.executable)
    (function,) = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    assert function.edits == ("Flight",)
    assert function.returns is not None
    assert function.returns.type is not None
    assert type_text(function.returns.type) == "list<ontologyEdit>"
    assert notes == ["cancel: edits has API names of object types; replace them by the IDs of these types"]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("handlers:recursive", "kids: Tree contains itself"),
        ("handlers:starred", "numbers: inputs have names"),
        ("handlers:pair", "the platform has no tuples"),
        ("handlers:missing", "name 'Nothing' is not defined"),
        ("later:bare", r"x: list lacks the types of what is in it; write list\[str\] or dict\[str, float\], say"),
        ("later:mapping", "x: .*Dict lacks the types of what is in it"),
        ("later:union", r"x: int \| str has no counterpart"),
        ("handlers:nope", "has no attribute 'nope'"),
        ("nowhere:f", "No module named 'nowhere'"),
        ("broken:f", r"^broken cannot be imported: ValueError: no \(.*broken.py, line 2\)$"),
        ("ending:f", r"^ending cannot be imported: SystemExit: 3 \(.*ending.py, line 1\)$"),
    ],
)
def test_hints_that_mean_no_type_are_refused(target: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        import_python_toml(target, sys.executable)


def test_missing_interpreter() -> None:
    """A missing interpreter is reported."""
    with pytest.raises(DescriptionError, match="/no/such/python cannot be run: No such file"):
        import_python_toml("a:b", "/no/such/python")
