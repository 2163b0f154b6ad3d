"""The body for POST schemas."""

import json
from typing import Any

import pytest

from cm_exec.datatypes import STRING, OptionalType, SimpleType
from cm_exec.datatypes.check import TypeMismatchError
from cm_exec.protocol.function_schema import FunctionSchema, Input, Range, Returns, query_checker, schemas_body

STRING_JSON = {"type": "string", "string": {}}
INTEGER = SimpleType("integer")


def published(schema: FunctionSchema) -> dict[str, Any]:
    (published,) = json.loads(schemas_body([schema]))
    assert isinstance(published, dict)
    return published


def test_functions_without_types() -> None:
    """Functions without types are published in order, as the Python SDK publishes them."""
    output = {"type": "single", "single": {"dataType": STRING_JSON}}
    assert json.loads(schemas_body(FunctionSchema(name=name) for name in ("b", 'a "é"'))) == [
        {"functionName": name, "inputs": [], "output": output, "ontologyProvenance": None} for name in ("b", 'a "é"')
    ]


def test_no_functions_are_an_empty_array() -> None:
    assert schemas_body([]) == b"[]"


def test_input() -> None:
    """An input has its description and its range."""
    inputs = (
        Input(name="plain", type=STRING, required=True),
        Input(
            name="width",
            type=OptionalType(INTEGER),
            required=False,
            description="in pixels",
            range=Range(kind="integer", min=1, max=9),
        ),
    )
    assert published(FunctionSchema(name="f", inputs=inputs))["inputs"] == [
        {"name": "plain", "required": True, "constraints": [], "dataType": STRING_JSON},
        {
            "name": "width",
            "description": "in pixels",
            "required": False,
            "constraints": [{"type": "integer", "integer": {"min": 1, "max": 9}}],
            "dataType": {"type": "optionalType", "optionalType": {"wrappedType": {"type": "integer", "integer": {}}}},
        },
    ]


@pytest.mark.parametrize(
    ("returns", "description"),
    [
        (Returns(type=STRING, description="own"), "own"),
        (Returns(type=STRING), "of the function"),
        (None, "of the function"),
    ],
)
def test_description(returns: Returns | None, description: str) -> None:
    """A function's description becomes its output's, unless the output has its own."""
    output = published(FunctionSchema(name="f", description="of the function", returns=returns))["output"]
    assert output == {"type": "single", "single": {"description": description, "dataType": STRING_JSON}}


def test_void_is_no_type_and_has_no_description() -> None:
    schema = FunctionSchema(name="f", description="of the function", returns=Returns(type=None))
    assert published(schema)["output"] == {"type": "void", "void": {}}


def test_query_checker() -> None:
    """A query is an object of the inputs, each in its range."""
    check = query_checker(
        [
            Input(name="a", type=INTEGER, required=True, range=Range(kind="integer", max=9)),
            Input(name="b", type=OptionalType(INTEGER), required=False, range=Range(kind="integer", min=1)),
            Input(name="c", type=STRING, required=False),
        ]
    )
    for right in ({"a": 9}, {"a": 0, "b": None, "c": None}, {"a": 0, "b": 1, "c": "x"}):
        check(right)
    for wrong, message in (
        ({"a": 10}, r"^\$\.a: expected a value up to 9, found one outside$"),
        ({"a": 1, "b": 0}, r"^\$\.b: expected a value from 1, found one outside$"),
        ({"a": 1, "d": 0}, r"^\$\.d: unknown; the members here are a, b, c$"),
        ({}, r"^\$\.a: expected an integer of 32 bits, found nothing$"),
        ([], r"^\$: expected an object, found an empty array$"),
    ):
        with pytest.raises(TypeMismatchError, match=message):
            check(wrong)


def test_no_inputs_are_an_empty_object() -> None:
    query_checker([])({})
    with pytest.raises(TypeMismatchError, match=r"unknown; there are no members here"):
        query_checker([])({"a": 1})
