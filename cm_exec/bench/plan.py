"""What is measured: each function in each mode that it can have, with each number of slots."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cm_exec.bench.variant import variant_text
from cm_exec.config import Config, ConfigError, Function, parse_config
from cm_exec.config.types import Mode
from cm_exec.handlers.modes import shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One measurement. `function` has the mode that is measured, and `config` is the cm.toml for it.

    With `rests` jobs that come one by one, with rests between them, are measured too.
    """

    function: Function
    config: str
    slots: int
    rests: bool

    @property
    def mode(self) -> Mode:
        """The mode that is measured."""
        return self.function.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps in their order, and what is not measured, a sentence each."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def make_plan(
    config: Config,
    document: Mapping[str, Any],
    *,
    functions: Sequence[Function],
    modes: Collection[Mode],
    slots: Sequence[int],
) -> Plan:
    """The plan for these functions of `config`, whose TOML is `document`; no `modes` are all."""
    steps: list[Step] = []
    notes: list[str] = []
    for function in functions:
        possible = _possible_modes(function)
        notes += [_impossible(function, mode) for mode in modes if mode not in possible]
        for mode in possible:
            if modes and mode not in modes:
                continue
            try:
                variant = _variant(config, document, function, mode)
            except ConfigError as error:
                notes.append(f"{function.name}: {mode} cannot be: {error.problems[0]}")
                continue
            counts, note = _counts(variant[0], slots)
            steps += _steps(*variant, counts)
            notes += [note] if note and note not in notes else []
    return Plan(steps=tuple(steps), notes=tuple(notes))


def _possible_modes(function: Function) -> tuple[Mode, ...]:
    """A loop over queries is no handler of a single one, and the other way round."""
    return ("persistent",) if function.mode == "persistent" else ("spawn", "prespawn")


def _impossible(function: Function, mode: Mode) -> str:
    if mode == "persistent":
        return f"{function.name}: persistent is not measured: it needs a handler with a loop, declared as persistent"
    return f"{function.name}: {mode} is not measured: the handler is declared as persistent, a loop over many queries"


def _variant(config: Config, document: Mapping[str, Any], function: Function, mode: Mode) -> tuple[Function, str]:
    text = variant_text(document, function, mode)
    return parse_config(text, path=config.path).functions[function.name], text


def _counts(function: Function, slots: Sequence[int]) -> tuple[list[int], str]:
    """The numbers of slots that the function can use, and what to say where these are fewer than asked for."""
    share = shares([function]).get(function.name)
    if share is None or share >= max(slots):
        return list(slots), ""
    counts = sorted({min(count, share) for count in slots})
    return counts, f"{function.name}: no more than {share} of its jobs run at once, as its table in cm.toml says"


def _steps(function: Function, config: str, counts: Sequence[int]) -> Iterator[Step]:
    for count in counts:
        yield Step(function=function, config=config, slots=count, rests=count == counts[0])
