"""Each function in each mode that it can have, with each number of slots that it can use."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import tomli

from cm_exec.bench.plan import Plan, make_plan
from cm_exec.config import parse_config
from cm_exec.config.types import Mode
from tests.support.toml import function


def plan_of(text: str, *, modes: Sequence[Mode] = (), slots: Sequence[int] = (1, 4)) -> Plan:
    config = parse_config(text, path=Path("/app/cm.toml"))
    return make_plan(config, tomli.loads(text), functions=list(config.functions.values()), modes=modes, slots=slots)


def steps_of(plan: Plan) -> list[tuple[str, str, int]]:
    return [(step.function.name, step.mode, step.slots) for step in plan.steps]


@pytest.mark.parametrize("declared", ["spawn", "prespawn"])
def test_a_handler_of_one_job_is_measured_in_spawn_and_prespawn(declared: str) -> None:
    plan = plan_of(function("f", "cat", mode=declared))
    assert steps_of(plan) == [("f", mode, slots) for mode in ("spawn", "prespawn") for slots in (1, 4)]
    assert plan.notes == ()


def test_a_handler_with_a_loop_is_measured_as_such_only() -> None:
    assert steps_of(plan_of(function("f", "cat", mode="persistent"))) == [
        ("f", "persistent", 1),
        ("f", "persistent", 4),
    ]


def test_the_config_of_a_step_is_for_its_mode() -> None:
    for step in plan_of(function("f", "cat") + function("g", "cat", mode="persistent")).steps:
        (written,) = parse_config(step.config, path=Path("/tmp/cm.toml")).functions.values()
        assert written == step.function


@pytest.mark.parametrize(
    ("declared", "mode", "why"),
    [("spawn", "persistent", "it needs a handler with a loop"), ("persistent", "prespawn", "a loop over many queries")],
)
def test_a_mode_that_is_asked_for_and_cannot_be_is_told(declared: str, mode: Mode, why: str) -> None:
    plan = plan_of(function("f", "cat", mode=declared), modes=[mode])
    assert plan.steps == ()
    (note,) = plan.notes
    assert note.startswith(f"f: {mode} is not measured: ")
    assert why in note


def test_a_mode_that_does_not_go_with_another_option_is_told() -> None:
    plan = plan_of(function("f", "cat", credentials=True))
    assert {step.mode for step in plan.steps} == {"spawn"}
    (note,) = plan.notes
    assert note.startswith("f: prespawn cannot be: functions.f.credentials: ")


def test_only_the_modes_that_are_asked_for_are_measured() -> None:
    assert steps_of(plan_of(function("f", "cat"), modes=["prespawn"], slots=[2])) == [("f", "prespawn", 2)]


@pytest.mark.parametrize("options", [{"max_concurrency": 2}, {"mode": "persistent", "processes": 2}])
def test_slots_that_a_function_may_not_use_are_not_measured(options: dict[str, object]) -> None:
    plan = plan_of(function("f", "cat", **options), slots=[1, 4, 8])
    assert sorted({step.slots for step in plan.steps}) == [1, 2]
    assert plan.notes == ("f: no more than 2 of its jobs run at once, as its table in cm.toml says",)


def test_jobs_with_rests_are_measured_once_a_mode_with_the_fewest_slots() -> None:
    plan = plan_of(function("f", "cat"), slots=[2, 4])
    assert [(step.mode, step.slots) for step in plan.steps if step.rests] == [("spawn", 2), ("prespawn", 2)]
