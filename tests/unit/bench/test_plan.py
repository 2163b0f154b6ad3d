"""Each function in each mode that it can have, with each number of slots that it can use."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import tomli
from msgspec.structs import replace

from cm_exec.bench.plan import BenchPlan, make_plan, variant_text
from cm_exec.config import Function, Mode
from cm_exec.config.load import parse_config
from tests.support.toml import function


def plan_of(text: str, *, modes: Sequence[Mode] = (), slots: Sequence[int] = (1, 4)) -> BenchPlan:
    config = parse_config(text, path=Path("/app/cm.toml"))
    return make_plan(config, tomli.loads(text), functions=list(config.functions.values()), modes=modes, slots=slots)


def steps_of(plan: BenchPlan) -> list[tuple[str, str, int]]:
    return [(step.function.name, step.mode, step.slots) for step in plan.steps]


@pytest.mark.parametrize("declared", ["spawn", "prespawn"])
def test_modes_of_one_job(declared: str) -> None:
    plan = plan_of(function("f", "cat", mode=declared))
    assert steps_of(plan) == [("f", mode, slots) for mode in ("spawn", "prespawn") for slots in (1, 4)]
    assert plan.notes == ()


def test_mode_of_loop() -> None:
    assert steps_of(plan_of(function("f", "cat", mode="persistent"))) == [
        ("f", "persistent", 1),
        ("f", "persistent", 4),
    ]


def test_config_of_step() -> None:
    for step in plan_of(function("f", "cat") + function("g", "cat", mode="persistent")).steps:
        (written,) = parse_config(step.config, path=Path("/tmp/cm.toml")).functions.values()
        assert written == step.function


@pytest.mark.parametrize(
    ("declared", "mode", "why"),
    [("spawn", "persistent", "a handler that loops over queries"), ("persistent", "prespawn", "it loops over queries")],
)
def test_impossible_mode(declared: str, mode: Mode, why: str) -> None:
    plan = plan_of(function("f", "cat", mode=declared), modes=[mode])
    assert plan.steps == ()
    (note,) = plan.notes
    assert note.startswith(f"f: not measured in mode {mode}: ")
    assert why in note


def test_conflicting_option() -> None:
    plan = plan_of(function("f", "cat", credentials=True))
    assert {step.mode for step in plan.steps} == {"spawn"}
    (note,) = plan.notes
    assert note.startswith("f: cannot be measured in mode prespawn: functions.f.credentials: ")


def test_requested_modes() -> None:
    assert steps_of(plan_of(function("f", "cat"), modes=["prespawn"], slots=[2])) == [("f", "prespawn", 2)]


@pytest.mark.parametrize("options", [{"max_concurrency": 2}, {"mode": "persistent", "processes": 2}])
def test_limited_slots(options: dict[str, object]) -> None:
    plan = plan_of(function("f", "cat", **options), slots=[1, 4, 8])
    assert sorted({step.slots for step in plan.steps}) == [1, 2]
    assert plan.notes == ("f: its table in cm.toml limits it to 2 concurrent jobs",)


def test_unloaded_once_per_mode() -> None:
    plan = plan_of(function("f", "cat"), slots=[2, 4])
    assert [(step.mode, step.slots) for step in plan.steps if step.unloaded] == [("spawn", 2), ("prespawn", 2)]


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
protocol = "content-length"
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
    """Read the function again from its text, in another folder."""
    text = variant_text(tomli.loads(RICH), CONFIG.functions[name], mode)
    return parse_config(text, path=Path("/tmp/elsewhere/cm.toml")).functions[name]


@pytest.mark.parametrize(("name", "mode"), [("rich", "prespawn"), ("loop", "persistent"), ("short", "spawn")])
def test_variant_of_own_mode(name: str, mode: Mode) -> None:
    assert variant_of(name, mode) == CONFIG.functions[name]


def test_variant_of_other_mode() -> None:
    assert variant_of("rich", "spawn") == replace(CONFIG.functions["rich"], mode="spawn", idle_timeout=None)
    assert variant_of("short", "prespawn") == replace(CONFIG.functions["short"], mode="prespawn", idle_timeout=9)


@pytest.mark.parametrize("name", list(CONFIG.functions))
def test_variant_has_one_function(name: str) -> None:
    function = CONFIG.functions[name]
    text = variant_text(tomli.loads(RICH), function, function.mode)
    assert list(parse_config(text, path=HERE).functions) == [name]


def test_variant_launcher() -> None:
    text = variant_text(tomli.loads(RICH), CONFIG.functions["short"], "spawn")
    launcher = parse_config(text, path=HERE).launcher
    assert (launcher.log_level, launcher.log_format) == ("warning", "sls")
    assert (launcher.concurrency, launcher.tls_server_name) == (None, None)


SERVICES = """
[services.model]
command = ["python3", "model.py"]
cwd = "app"
ready = "message"
start_timeout = 9
[services.web]
protocol = "http"
url = "http://127.0.0.1:8000"
[functions.one]
service = "model"
timeout = 7
[functions.two]
service = "model"
[functions.three]
service = "web"
request = "GET /{name}"
inputs = { name = "string" }
[defaults]
output = "json"
"""


@pytest.mark.parametrize("name", ["one", "three"])
def test_variant_of_service(name: str) -> None:
    """The service is the same, also with one function instead of several."""
    function = parse_config(SERVICES, path=HERE).functions[name]
    (step,) = plan_of(SERVICES, slots=[1]).steps[:1] if name == "one" else plan_of(SERVICES, slots=[1]).steps[2:]
    assert step.mode == "persistent"
    (written,) = parse_config(step.config, path=Path("/tmp/elsewhere/cm.toml")).functions.values()
    assert written.service
    assert function.service
    cwd = Path("/app/app") if name == "one" else written.cwd
    same = {"functions": (name,), "cwd": cwd}
    assert written.service == replace(function.service, **same)
    assert replace(written, service=None, cwd=function.cwd) == replace(function, service=None)
