"""The plan of a run: each function in each mode that it can have, with each number of slots."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cm_exec.config import Config, Function, Mode
from cm_exec.config.checks import applicable_defaults
from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.handlers.factory import concurrency_limits
from cm_exec.text import toml_value

_KEPT_LAUNCHER_KEYS: Final = ("log_format", "log_level")
"""The [launcher] keys that affect speed. The others concern the platform, or are what a run varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One measurement. `function` has the mode to measure, and `config` is the text of its cm.toml.

    If `unloaded` is set, the step also measures jobs that come one by one, with pauses between them.
    """

    function: Function
    config: str
    slots: int
    unloaded: bool

    @property
    def mode(self) -> Mode:
        """Return the mode to measure."""
        return self.function.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """The steps in order, and a sentence for each thing that is not measured."""

    steps: tuple[PlanStep, ...]
    notes: tuple[str, ...]


def make_plan(
    config: Config,
    document: Mapping[str, Any],
    *,
    functions: Sequence[Function],
    modes: Collection[Mode],
    slots: Sequence[int],
) -> BenchPlan:
    """Plan the measurement of these functions of `config`, whose TOML is `document`; empty `modes` means all."""
    steps: list[PlanStep] = []
    notes: list[str] = []
    for function in functions:
        # a loop over queries cannot serve a single one, nor the other way round
        possible: tuple[Mode, ...] = ("persistent",) if function.mode == "persistent" else ("spawn", "prespawn")
        notes += [_not_possible(function, mode) for mode in modes if mode not in possible]
        for mode in possible:
            if modes and mode not in modes:
                continue
            text = variant_text(document, function, mode)
            try:
                variant = parse_config(text, path=config.path).functions[function.name]
            except ConfigError as error:
                notes.append(f"{function.name}: cannot be measured in mode {mode}: {error.problems[0]}")
                continue
            counts, note = _slot_counts(variant, slots)
            steps += [
                PlanStep(function=variant, config=text, slots=count, unloaded=count == counts[0]) for count in counts
            ]
            notes += [note] if note and note not in notes else []
    return BenchPlan(steps=tuple(steps), notes=tuple(notes))


def _not_possible(function: Function, mode: Mode) -> str:
    if mode == "persistent":
        why = "it needs a handler that loops over queries, declared as persistent"
    else:
        why = "the handler is declared as persistent: it loops over queries"
    return f"{function.name}: not measured in mode {mode}: {why}"


def variant_text(document: Mapping[str, Any], function: Function, mode: Mode) -> str:
    """Return the text of a cm.toml with `function` alone, in `mode`, and with its service.

    `document` is the user's file as parsed TOML. Types and defaults are copied; options of modes that are not
    measured are left out. `cwd` becomes absolute, since the text is written to another folder.
    """
    entry = document["functions"][function.name]
    own = {"command": entry} if isinstance(entry, str | list) else entry
    services = {}
    if "service" in own:
        # several functions imply the envelope, and here there is one
        kept = {"envelope": True} if function.service and function.service.envelope else {}
        service = {**document["services"][own["service"]], **kept}
        if function.command is not None:
            service["cwd"] = str(function.cwd)
        services[own["service"]] = service
    else:
        applicable = applicable_defaults(own, {"mode": mode, "command": function.command})
        own = {**applicable, "mode": mode, "cwd": str(function.cwd)}
    launcher = {key: value for key, value in document.get("launcher", {}).items() if key in _KEPT_LAUNCHER_KEYS}
    shared = {key: document[key] for key in ("defaults", "types") if key in document}
    tables = {"functions": {function.name: own}, "services": services, "launcher": launcher, **shared}
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in tables.items())


def _slot_counts(function: Function, slots: Sequence[int]) -> tuple[list[int], str]:
    """Return the numbers of slots that the function can use, and a note if these are fewer than requested."""
    limit = concurrency_limits([function]).get(function.name)
    if limit is None or limit >= max(slots):
        return list(slots), ""
    counts = sorted({min(count, limit) for count in slots})
    return counts, f"{function.name}: its table in cm.toml limits it to {limit} concurrent jobs"
