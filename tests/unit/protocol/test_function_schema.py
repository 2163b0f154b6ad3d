"""The body for POST schemas."""

import json

from cm_exec.protocol.function_schema import FunctionSchema, schemas_body


def test_functions_without_types_are_published_in_order_as_the_python_sdk_does_it() -> None:
    output = {"type": "single", "single": {"dataType": {"type": "string", "string": {}}}}
    assert json.loads(schemas_body(FunctionSchema(name=name) for name in ("b", 'a "é"'))) == [
        {"functionName": name, "inputs": [], "output": output, "ontologyProvenance": None} for name in ("b", 'a "é"')
    ]


def test_no_functions_are_an_empty_array() -> None:
    assert schemas_body([]) == b"[]"
