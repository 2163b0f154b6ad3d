"""What is published of a function is what the official Python SDK publishes of the same function in Python."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from cm_exec.config.load import parse_config
from cm_exec.datatypes import DataType, type_json
from cm_exec.datatypes.syntax import parse_type, type_text
from cm_exec.protocol.function_schema import FunctionSchema, Returns, schemas_body
from tests.support import official_sdks
from tests.support.data_types import data_types, sdk_types

SCRIPT = official_sdks.ROOT / "tests" / "support" / "python_sdk_schemas.py"

CM_TOML = """
[types.Point]
x = "double"
y = "double"
label = "optional<string>"

[types.Line]
points = "list<Point>"
names = "map<string, Point>"

[types]
Dictionary = { needed = "string", spare = "integer" }

[functions.simple]
command = "cat"
returns = "string"
[functions.simple.inputs]
a_boolean = "boolean"
a_byte = "byte"
a_short = "short"
an_integer = "integer"
a_long = "long"
a_float = "float"
a_double = "double"
a_decimal = "decimal"
a_string = "string"
a_binary = "binary"
a_date = "date"
a_timestamp = "timestamp"

[functions.compound]
command = "cat"
returns = "list<optional<integer>>"
[functions.compound.inputs]
texts = "list<string>"
ids = "set<long>"
prices = "map<date, decimal>"
streamed = "list<binary>"
nested = "map<integer, list<set<float>>>"
maybe = "optional<integer>"
maybe_point = "optional<Point>"

[functions.structs]
command = "cat"
inputs = { point = "Point", line = "Line", lines = "list<Line>" }
returns = "Line"

[functions.required]
command = "cat"
inputs.must = { type = "optional<string>", required = true }
inputs.may = { type = "string", required = false }
returns = "optional<boolean>"

[functions.dictionary]
command = "cat"
inputs.needed = "string"
inputs.spare = { type = "integer", required = false }
returns = "map<string, Dictionary>"

[functions.edits]
command = "cat"
inputs = { needed = "string", spare = { type = "integer", required = false } }
returns = "list<ontologyEdit>"
edits = ["flight-id"]

[functions]
untyped = "cat"

[functions.without_inputs]
command = "cat"
returns = "binary"
"""


@pytest.fixture(scope="module")
def python() -> str:
    """Return the Python of the SDK."""
    return official_sdks.python_command()[0]


class Inference:
    """The SDK, asked for one type after another."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def of(self, data_type: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(data_type) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def inference(python: str) -> Iterator[Inference]:
    with subprocess.Popen(
        [python, SCRIPT, "types"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Inference(process)


def published(text: str) -> list[dict[str, Any]]:
    functions = parse_config(text, path=Path("/srv/cm.toml")).functions.values()
    schemas: list[dict[str, Any]] = json.loads(schemas_body(function.schema for function in functions))
    return schemas


def test_schema_matches_the_sdk(python: str) -> None:
    """cm-exec publishes a function with the schema that the SDK publishes for its equivalent."""
    done = subprocess.run([python, SCRIPT, "table"], capture_output=True, check=True)
    by_sdk = {schema["functionName"]: schema for schema in json.loads(done.stdout)}
    ours = {schema["functionName"]: schema for schema in published(CM_TOML)}
    assert ours.keys() == by_sdk.keys()
    for name, schema in by_sdk.items():
        assert ours[name] == schema
        assert [each["name"] for each in ours[name]["inputs"]] == [each["name"] for each in schema["inputs"]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sdk_types)
def test_random_type_matches_the_sdk(inference: Inference, type_: DataType) -> None:
    """The schema of any type is one that the SDK infers, too."""
    json_ = type_json(parse_type(type_text(type_)))
    assert inference.of(json_) == json_


@given(data_types)
def test_members_match_the_sdk(type_: DataType) -> None:
    """A schema has the SDK's members for every type."""
    (schema,) = json.loads(schemas_body([FunctionSchema(name="f", returns=Returns(type=type_))]))
    assert schema == {
        "functionName": "f",
        "inputs": [],
        "output": {"type": "single", "single": {"dataType": type_json(type_)}},
        "ontologyProvenance": None,
    }
