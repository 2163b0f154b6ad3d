"""The JSON Schema of cm.toml, for editors, made from the types that read the file."""

import json
from typing import Any, Final

import msgspec

from cm_exec.config.schema import FieldTable, File, InputTable, ReturnsTable
from cm_exec.config.test_cases import ERRORS, QUERIES, RESULTS
from cm_exec.datatypes import SIMPLE_NAMES

_REF: Final = "#/$defs/"

_TEXT: Final = {
    "title": "Type",
    "description": "A type of the platform, or the name of one under [types].",
    "anyOf": [
        {"enum": [*SIMPLE_NAMES, "decimal"]},
        {
            "type": "string",
            "pattern": r"^\s*[^\W\d]\w*\s*(<[\s\S]+>|\([\s\S]+\))?\s*$",
            "examples": ["list<string>", "optional<integer>", "map<string, double>", "decimal(10, 2)", "set<date>"],
        },
    ],
}
_STRUCT: Final = {
    "title": "Struct",
    "description": "A struct: its fields and their types.",
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": r"^[^\x00-\x1f\x7f]+$(?!\n)"},
    "additionalProperties": {"$ref": f"{_REF}Field"},
}
_SHORT: Final = {"allOf": [{"$ref": f"{_REF}Struct"}, {"not": {"required": ["type"]}}]}
"""A table with the key `type` is a long form; a struct with such a field can only be a named type."""


def _require(*names: str) -> list[dict[str, Any]]:
    return [{"required": [name]} for name in names]


_ONE_QUERY_AND_OUTCOME: Final = {
    "allOf": [
        {"oneOf": _require(*QUERIES)},
        {"oneOf": [*_require(*RESULTS), {"anyOf": _require(*ERRORS)}]},
    ],
    "dependencies": {
        "tolerance": {
            "anyOf": [
                *_require("result", "result_json", "result_subset"),
                {**_require("result_file")[0], "properties": {"result_file": {"pattern": r"\.[jJ][sS][oO][nN]$"}}},
            ]
        }
    },
}


def cm_toml_schema() -> dict[str, Any]:
    """Return a JSON Schema of draft 7, the one that TOML editors support."""
    (file,), parts = msgspec.json.schema_components([File], ref_template=_REF + "{name}")
    _, of_types = msgspec.json.schema_components([InputTable, FieldTable, ReturnsTable], ref_template=_REF + "{name}")
    definitions = {**parts, **of_types, **_types()}
    definitions["FunctionTestTable"] |= _ONE_QUERY_AND_OUTCOME
    definitions["FunctionTable"] |= {
        "anyOf": _require("command", "service", "url"),
        "not": {"type": "object", "required": ["command", "service"]},
    }
    definitions["ServiceTable"]["anyOf"] = _require("command", "url")
    root = definitions.pop(file["$ref"].removeprefix(_REF))
    _join_arms(root["properties"]["functions"], definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_for_draft_7(root),
        "title": "cm.toml",
        "description": "Maps the functions of a Foundry compute module to commands; read by cm-exec.",
        "$defs": {name: _for_draft_7(definitions[name]) for name in sorted(definitions)},
    }


def _join_arms(functions: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Merge the schemas of a function's string, array and table into one.

    Keywords for one of these types do not apply to the others. With several schemas an editor reports that none
    matches the whole table; with one it names the wrong key.
    """
    *short_forms, table = functions["additionalProperties"]["anyOf"]
    definition = definitions[table["$ref"].removeprefix(_REF)]
    types = [*(form["type"] for form in short_forms), definition["type"]]
    for form in short_forms:
        definition |= form
    definition["type"] = types
    functions["additionalProperties"] = table


def cm_toml_schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(cm_toml_schema(), indent=2, ensure_ascii=False) + "\n"


def _types() -> dict[str, Any]:
    text = {"$ref": f"{_REF}TypeText"}
    return {
        "TypeText": _TEXT,
        "Struct": _STRUCT,
        "Type": {"anyOf": [text, {"$ref": f"{_REF}Struct"}]},
        "Field": {"anyOf": [text, {"$ref": f"{_REF}FieldTable"}, _SHORT]},
        "Input": {"anyOf": [text, {"$ref": f"{_REF}InputTable"}, _SHORT]},
        "Returns": {"anyOf": [{"const": "void"}, text, {"$ref": f"{_REF}ReturnsTable"}, _SHORT]},
    }


def _for_draft_7(schema: Any) -> Any:
    """Wrap each `$ref` that has siblings: draft 7 ignores them."""
    if isinstance(schema, list | tuple):
        return [_for_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _for_draft_7(value) for key, value in schema.items()}
    if "$ref" not in inner or len(inner) == 1:
        return inner
    return {"allOf": [{"$ref": inner.pop("$ref")}], **inner}
