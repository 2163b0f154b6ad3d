"""The JSON Schema of cm.toml says what the program says."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from cm_exec.config.load import parse_config
from cm_exec.config.schema.json_schema import cm_toml_schema, cm_toml_schema_text
from cm_exec.errors import ConfigError
from tests.support.documents import PAGES, blocks
from tests.unit.config import test_mistakes, test_services, test_signature, test_test_cases
from tests.unit.datatypes.test_python_sdk import CM_TOML

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = cm_toml_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

BEYOND = re.compile(
    r"character \d+ of|unknown type|nested|"  # what a type's text says
    r"cannot be combined|needs (inputs|returns)|"  # what goes together
    r"have a range$|no less than min|inputs\.a\.(min|max): expected|"  # what a range means
    r"found (nan|-?inf|1\.0|a date or time)|"  # what JSON has no word for, or no other word
    r"expected a program, found a blank string|"
    r"the name of a function, found \"|is already the name of|"  # what another table says
    r"not JSON: |not a regular expression: "  # what a text means
)
"""Errors that a JSON Schema cannot express."""


def document(text: str) -> Any:
    return as_json(tomli.loads(text))


def as_json(value: Any) -> Any:
    """TOML as editors hand it to a schema: dates and times are strings."""
    match value:
        case dict():
            return {key: as_json(inner) for key, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case dt.date() | dt.time():
            return value.isoformat()
    return value


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_shipped_file_is_up_to_date() -> None:
    shipped = resources.files("cm_exec.config.schema") / "cm-toml.schema.json"
    assert shipped.read_text() == cm_toml_schema_text(), (
        "run: cm-exec schema --config >cm_exec/config/schema/cm-toml.schema.json"
    )


def test_every_key_has_a_title_and_a_description() -> None:
    shapes = [SCHEMA, *SCHEMA["$defs"].values()]
    keys = [key for shape in shapes for key in shape.get("properties", {}).values()]
    assert len(keys) > 40
    for key in keys:
        assert key["description"].endswith(".")
    for shape in shapes[1:]:
        for key in shape.get("properties", {}).values():
            assert key["title"]


def test_every_cm_toml_of_the_repository_is_right() -> None:
    files = sorted((ROOT / "examples").glob("*/cm.toml"))
    assert len(files) >= 15
    for path in files:
        VALIDATOR.validate(document(path.read_text()))


def documented() -> Iterator[str]:
    """Yield the whole files in the README and the other documents."""
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "toml" and (block.file or "cm.toml") == "cm.toml" and not block.fragment_of:
            yield block.text


def parameters(test: Any) -> Iterator[Any]:
    """Return the first value of each parameter set of a test."""
    for mark in test.pytestmark:
        for values in mark.args[1]:
            yield values[0] if isinstance(values, tuple) else values


def right_texts() -> Iterator[str]:
    yield CM_TOML
    yield f"{test_services.MODEL}jobs_per_process = 16\n{test_services.USER}"
    yield test_services.api('ready = "/health"', 'request = "GET /items/{id}"\nquery = ["q"]\nstream = "sse"')
    yield '[functions.f]\nmode = "persistent"\nprotocol = "http"\nurl = "unix:/run/api.sock"'
    yield from documented()
    for inputs, types in test_signature.test_struct_inline_and_by_name.pytestmark[0].args[1]:  # type: ignore[attr-defined]
        yield f'[functions.f]\ncommand = "cat"\n{inputs}\n{types}'
    for text in parameters(test_signature.test_returns_is_a_type_a_struct_or_void):
        yield f'[functions.f]\ncommand = "cat"\n{text}'
    for _, type_, low, _ in test_signature.test_a_range_is_in_the_terms_of_its_type.pytestmark[0].args[1]:  # type: ignore[attr-defined]
        yield f'[functions.f]\ncommand = "cat"\ninputs.n = {{ type = "{type_}", min = {low} }}'
    for options in parameters(test_test_cases.test_an_expectation_is_one_of_these):
        yield f"{test_test_cases.FUNCTIONS}[[tests]]\nfunction = 'double'\nquery = 1\n{options}"


@pytest.mark.parametrize("text", list(right_texts()))
def test_what_the_program_takes_the_schema_takes(text: str) -> None:
    assert parse_config(text, path=Path("/srv/cm.toml")).functions
    VALIDATOR.validate(document(text))


def wrong_texts() -> list[str]:
    """Every wrong file of the tests beside this one, but for integers so long that Python does not write them out."""
    return [text for text in all_wrong_texts() if len(text) < 1000]


def all_wrong_texts() -> Iterator[str]:
    command = '[functions.f]\ncommand = "cat"\n'
    for option in (
        *parameters(test_mistakes.test_wrong_value),
        *parameters(test_mistakes.test_a_wrong_value_of_a_mode_s_key_is_named),
        *parameters(test_signature.test_wrong_type),
    ):
        yield f"{command}{option}"
    for value in parameters(test_mistakes.test_a_command_that_cannot_be_run_is_refused):
        yield f"[functions.f]\ncommand = {value}"
    for option in parameters(test_mistakes.test_a_wrong_launcher_option_is_named):
        yield f'functions.f = "cat"\n[launcher]\n{option}'
    yield from parameters(test_mistakes.test_no_usable_functions)
    for key in parameters(test_mistakes.test_the_nearest_right_key_is_named):
        yield f"{command}{key} = 1"
    for types in parameters(test_signature.test_a_mistake_in_a_named_type_is_named_once):
        yield f"{types}\n{command}"
    for options in parameters(test_test_cases.test_a_wrong_test_is_one_mistake_with_its_key):
        yield f"{test_test_cases.FUNCTIONS}[[tests]]\nfunction = 'double'\n{options}"
    for tests in parameters(test_test_cases.test_invalid_test):
        yield f"{test_test_cases.FUNCTIONS}{tests}"
    for url in parameters(test_services.test_a_server_is_never_on_another_host):
        yield f'[services.api]\nprotocol = "http"\nurl = "{url}"\n[functions.f]\nservice = "api"'
    for name in parameters(test_mistakes.test_connection_variables):
        yield f'{command}inherit_env = ["{name}"]'
        yield f'{command}env.{name} = "x"'


@pytest.mark.parametrize("text", wrong_texts())
def test_schema_agrees_with_the_parser(text: str) -> None:
    """The schema rejects each file that the parser rejects, except for rules that no schema can express."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("/srv/cm.toml"))
    beyond = all(BEYOND.search(str(problem)) for problem in caught.value.problems)
    assert beyond or not VALIDATOR.is_valid(document(text))


def test_schema_rejects_most_wrong_files() -> None:
    """The schema rejects more than 80 % of the wrong files of all tests."""
    texts = wrong_texts()
    refused = [text for text in texts if not VALIDATOR.is_valid(document(text))]
    assert len(texts) > 150
    assert len(refused) > 0.8 * len(texts)


def test_the_schema_is_json_of_a_stable_order() -> None:
    assert json.loads(cm_toml_schema_text()) == SCHEMA
    assert cm_toml_schema_text() == cm_toml_schema_text()
