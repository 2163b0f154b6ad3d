"""Options that do not go together."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from cm_exec.config.schema import FunctionTable
from cm_exec.text import closest_match

MODES_OF: Final = {
    "framing": ("persistent",),
    "envelope": ("persistent",),
    "processes": ("persistent",),
    "max_jobs": ("persistent",),
    "idle_timeout": ("prespawn", "persistent"),
}
"""The options that have a meaning in certain modes only."""


def fitting(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `[defaults]` that have a meaning in the function's mode."""
    mode = own.get("mode", defaults.get("mode", "spawn"))
    return {key: value for key, value in defaults.items() if mode in MODES_OF.get(key, (mode,))}


def unclear(said: object, values: Mapping[str, Any], shape: type[Struct] = FunctionTable) -> frozenset[str]:
    """The options of which a table says something wrong, under their names or misspelt; `values` are the right ones.

    What they were meant to be is not known, so that nothing can contradict them.
    """
    wrong = [key for key in said if key not in values] if isinstance(said, Mapping) else []
    meant = (closest_match(key, shape.__struct_encode_fields__) for key in wrong)
    return frozenset(key for key in meant if key)


def impossible(table: FunctionTable, own: Mapping[str, Any], doubts: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The keys of a function that have no meaning with its others, and what to say of each.

    `table` has the function's options with `[defaults]` under them, `own` only those that the function itself says:
    an option for one mode may stand in `[defaults]` for all. `doubts` are the options that are unclear.
    """
    for key, modes in MODES_OF.items():
        if key in own and table.mode not in modes and "mode" not in doubts:
            wanted = " or ".join(f'"{mode}"' for mode in modes)
            yield key, f'has no meaning with mode = "{table.mode}"; it needs mode = {wanted}'
    for key, other, message in _contradictions(table):
        if not doubts & {key, *other}:
            yield key, message if key in own else f"{message}; it comes from [defaults]"


def _contradictions(table: FunctionTable) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """A key, the others that it does not go with, and what to say of it."""
    if table.stream and table.mode == "persistent":
        yield "stream", ("mode",), 'cannot be with mode = "persistent", whose results are whole lines or frames'
    if table.stream and table.output != "bytes":
        needs = "which needs the whole result before it is posted"
        yield "stream", ("output",), f'cannot be with output = "{table.output}", {needs}'
    if table.credentials and table.mode == "prespawn":
        message = 'cannot be with mode = "prespawn": the process is started before its job is known'
        yield "credentials", ("mode",), message
    if table.credentials and table.mode == "persistent" and not table.envelope:
        message = 'needs envelope = true with mode = "persistent": the tokens are in the envelope'
        yield "credentials", ("mode", "envelope"), message
    if table.check_results and table.stream and table.returns is not UNSET:  # without a type nothing is checked
        message = "cannot be with stream = true: a result is checked as a whole, before it is posted"
        yield "check_results", ("stream",), message


def without_types(own: Mapping[str, Any], entry: object) -> Iterator[tuple[str, str]]:
    """The checks that a function asks for with nothing to check against; `entry` is what stands in the file."""
    said = entry if isinstance(entry, Mapping) else {}
    if own.get("check_queries") and "inputs" not in said:
        yield "check_queries", "needs inputs, the types to check a query against"
    if own.get("check_results") and "returns" not in said:
        yield "check_results", "needs returns, the type to check a result against"
