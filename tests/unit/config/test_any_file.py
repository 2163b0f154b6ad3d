"""Any file gives a Config or a ConfigError, and nothing else."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from cm_exec.config import Config
from cm_exec.config.load import parse_config
from cm_exec.config.schema import File, FunctionTestTable, LauncherTable
from cm_exec.config.schema.functions import FunctionTable
from cm_exec.config.schema.keys import converted, key_spec
from cm_exec.config.validate import suggest_value
from cm_exec.errors import ConfigError

PATH = Path("/srv/cm.toml")
SHAPES = (File, FunctionTable, LauncherTable, FunctionTestTable)
KEYS = [key for shape in SHAPES for key in shape.__struct_encode_fields__]

text = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["cat", "30s", "64MiB", "1MB", "json", "bytes", "true", "PATH,LANG", "a.b", " ", "1" * 30]
)
scalar = text | st.booleans() | st.integers() | st.floats() | st.just(10**400)
name = st.sampled_from(KEYS) | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(name, inner, max_size=4), max_leaves=12
)
table = st.dictionaries(name, value, max_size=6)
document = st.dictionaries(name, value, max_size=4) | st.fixed_dictionaries(
    {"functions": st.dictionaries(text, text | table, max_size=4)},
    optional={"defaults": table, "launcher": table, "tests": st.lists(table, max_size=3)},
)


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(entry)}" for key, entry in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def outcome(content: str) -> Config | ConfigError:
    try:
        return parse_config(content, path=PATH)
    except ConfigError as error:
        return error


@given(document)
@example({"functions": {"f": {"command": ["a", 5]}, "g": {"command": "a\0"}}})  # crashed msgspec 0.22.0
@example({"functions": {"f": {"timeout": 10**400}}})
def test_any_document_is_read_or_refused(tables: dict[str, Any]) -> None:
    result = outcome("\n".join(f"{toml(key)} = {toml(entry)}" for key, entry in tables.items()))
    if isinstance(result, Config):
        assert result.functions.keys() == tables["functions"].keys()
    else:
        assert result.problems
        assert "not valid TOML" not in str(result)
        assert len(str(result).splitlines()) >= len(result.problems)


@given(st.text(max_size=60))
@example(".".join("a" * 999) + ' = "x"')
@example("functions." + ".".join("a" * 900) + ' = "x"')
def test_any_text_is_read_or_refused(content: str) -> None:
    result = outcome(content)
    assert isinstance(result, Config) or result.problems


fields = st.sampled_from(
    [f.type for shape in (FunctionTable, LauncherTable, FunctionTestTable) for f in msgspec.structs.fields(shape)]
)


@given(fields, value)
def test_a_suggestion_is_always_right(expected: Any, wrong: object) -> None:
    meant = suggest_value(wrong, expected, key_spec(expected))
    if meant is not None:
        parsed = msgspec.toml.decode(f"value = {meant}".encode())["value"]
        converted(parsed, expected)


@given(st.integers(0, 604800), st.integers(1, 10**17), st.sampled_from(["B", "KiB", "MiB", "GiB"]))
def test_what_is_written_is_what_is_read(seconds: int, size: int, unit: str) -> None:
    config = parse_config(
        f'[functions.f]\ncommand = "cat"\ntimeout = {seconds}\nmax_output = "{size}{unit}"', path=PATH
    )
    assert config.functions["f"].timeout == (seconds or None)
    assert config.functions["f"].max_output == size * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
