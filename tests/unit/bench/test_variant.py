"""The cm.toml for one function in one mode says what the user's file says, but for the mode."""

from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cm_exec.bench.variant import toml_value, variant_text
from cm_exec.config import Function, parse_config
from cm_exec.config.types import Mode

RICH = r"""
[functions]
short = "jq '. * 2'"
"a.b \"c\" ü" = "true"

[functions.rich]
command = ["./run", "--text", "\"quoted\" \\ \u007f 🙂\n"]
timeout = 1.5
max_output = "3MiB"
output = "json"
env = { "A.B" = "=\t'", EMPTY = "" }
cwd = "handlers"
inherit_env = ["PATH"]
max_concurrency = 2
result_fd = 3
idle_timeout = 7
description = "does \"much\""
check_queries = true
check_results = true
inputs = { at = "Point", since = { type = "date", min = "2020-01-31" }, n = { type = "integer", max = 9 } }
returns = { type = "list<Point>", description = "in order" }
mode = "prespawn"

[functions.loop]
command = ["./loop"]
mode = "persistent"
framing = "content-length"
envelope = true
credentials = true
processes = 3
max_jobs = 10

[types]
Point = "struct<x: double, y: double>"

[defaults]
timeout = 60
idle_timeout = 9
env = { SHARED = "1" }

[launcher]
concurrency = 7
drain_timeout = 3
tls_server_name = "elsewhere"
log_level = "warning"
log_format = "sls"
"""
HERE = Path("/somewhere/cm.toml")
CONFIG = parse_config(RICH, path=HERE)


def variant_of(name: str, mode: Mode) -> Function:
    """The function as it comes back from the text, which is read in another folder."""
    text = variant_text(tomli.loads(RICH), CONFIG.functions[name], mode)
    return parse_config(text, path=Path("/tmp/elsewhere/cm.toml")).functions[name]


@pytest.mark.parametrize(("name", "mode"), [("rich", "prespawn"), ("loop", "persistent"), ("short", "spawn")])
def test_in_its_own_mode_a_function_is_what_it_was(name: str, mode: Mode) -> None:
    assert variant_of(name, mode) == CONFIG.functions[name]


def test_in_another_mode_only_the_mode_changes_and_what_has_no_meaning_in_it() -> None:
    assert variant_of("rich", "spawn") == replace(CONFIG.functions["rich"], mode="spawn", idle_timeout=None)
    assert variant_of("short", "prespawn") == replace(CONFIG.functions["short"], mode="prespawn", idle_timeout=9)


@pytest.mark.parametrize("name", list(CONFIG.functions))
def test_there_is_no_other_function_in_it(name: str) -> None:
    function = CONFIG.functions[name]
    text = variant_text(tomli.loads(RICH), function, function.mode)
    assert list(parse_config(text, path=HERE).functions) == [name]


def test_of_the_launcher_the_log_is_taken_over_and_not_what_is_varied_or_is_for_the_platform() -> None:
    text = variant_text(tomli.loads(RICH), CONFIG.functions["short"], "spawn")
    launcher = parse_config(text, path=HERE).launcher
    assert (launcher.log_level, launcher.log_format) == ("warning", "sls")
    assert (launcher.concurrency, launcher.tls_server_name) == (None, None)


TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(VALUES)
def test_a_value_of_toml_is_written_as_toml(value: object) -> None:
    assert tomli.loads(f"value = {toml_value(value)}")["value"] == value


def test_what_toml_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError):
        toml_value(None)
