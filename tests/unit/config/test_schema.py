"""The shape of cm.toml is declared once; everything else agrees with it."""

import msgspec
import pytest
from msgspec import UNSET, Struct

from cm_exec.cli.run import command as run
from cm_exec.config import Function, Launcher, Service
from cm_exec.config.schema import FieldTable, File, FunctionTestTable, InputTable, LauncherTable, ReturnsTable
from cm_exec.config.schema.functions import FunctionEntry, FunctionOptions, FunctionTable, ServiceTable
from cm_exec.config.schema.keys import converted, key_spec

TABLES = [
    FunctionTable,
    ServiceTable,
    FunctionOptions,
    LauncherTable,
    FunctionTestTable,
    InputTable,
    FieldTable,
    ReturnsTable,
]


def test_every_key_becomes_a_value_of_the_model() -> None:
    of_functions = {*Function.__struct_fields__, *Service.__struct_fields__, "query", "body"}
    assert set(FunctionTable.__struct_encode_fields__) - {"url"} <= of_functions
    assert set(ServiceTable.__struct_encode_fields__) - {"url"} <= set(Service.__struct_fields__)
    assert set(LauncherTable.__struct_encode_fields__) == set(Launcher.__struct_fields__)


def test_every_launcher_key_is_an_option_of_run() -> None:
    assert set(LauncherTable.__struct_encode_fields__) <= {option.name for option in run.params}


@pytest.mark.parametrize("shape", [FunctionTable, LauncherTable, FunctionTestTable])
def test_key_descriptions(shape: type[Struct]) -> None:
    """Each key has a description of the values that it accepts."""
    for field in msgspec.structs.fields(shape):
        assert key_spec(field.type).words


def test_values_that_may_hold_secrets_are_private() -> None:
    for key in ("command", "env"):
        (field,) = (field for field in msgspec.structs.fields(FunctionTable) if field.name == key)
        assert key_spec(field.type).private
    assert key_spec(FunctionEntry).private


def test_json_schema() -> None:
    """The JSON Schema follows from the same types as the parser."""
    definitions = msgspec.json.schema(File)["$defs"]
    assert set(definitions) == {f"{name}Table" for name in ("Function", "FunctionTest", "Launcher", "Service")} | {
        "File",
        "FunctionOptions",
    }
    for definition in definitions.values():
        assert definition["additionalProperties"] is False
    assert definitions["FunctionTable"]["properties"]["timeout"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 604800,
        "default": 300.0,
        "title": "Timeout",
        "description": "Seconds that a job may take, with fractions; 0 is no limit. A TypeScript function waits at "
        "most 300 seconds for a compute module.",
        "examples": [30],
    }


def test_json_schema_of_mode_options() -> None:
    """The JSON Schema has the values, ranges and defaults of the options of modes."""
    keys = msgspec.json.schema(File)["$defs"]["FunctionOptions"]["properties"]
    assert keys["mode"]["enum"] == ["persistent", "prespawn", "spawn"]
    assert keys["protocol"]["enum"] == ["content-length", "http", "lines"]
    assert keys["result_fd"]["enum"] == [1, 3]
    assert (keys["mode"]["default"], keys["protocol"]["default"], keys["result_fd"]["default"]) == ("spawn", "lines", 1)
    assert (keys["processes"]["minimum"], keys["processes"]["maximum"]) == (1, 10_000)
    assert keys["max_jobs"]["minimum"] == 1
    assert (keys["idle_timeout"]["minimum"], keys["idle_timeout"]["maximum"]) == (0, 604_800)
    for key in ("processes", "max_jobs", "idle_timeout"):
        assert "default" not in keys[key]


@pytest.mark.parametrize("shape", [FunctionTable, ServiceTable, FunctionOptions, LauncherTable])
def test_json_schema_texts(shape: type[Struct]) -> None:
    """Each key of the JSON Schema has a title and a description."""
    for key in msgspec.json.schema(shape)["$defs"][shape.__name__]["properties"].values():
        assert key["title"]
        assert key["description"].endswith(".")


@pytest.mark.parametrize("shape", TABLES)
def test_examples_and_defaults(shape: type[Struct]) -> None:
    """Each key has valid examples, and a default if it is optional."""
    described = msgspec.json.schema(shape)["$defs"][shape.__name__]["properties"]
    for field in msgspec.structs.fields(shape):
        examples = described[field.name]["examples"]
        assert examples
        for example in examples:
            converted(example, field.type)
        assert bool(key_spec(field.type).default_text) is (field.default is UNSET)
