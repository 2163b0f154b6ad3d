"""Options that do not go together."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from cm_exec.config.tables import FunctionTable

_MODES_OF: Final = {
    "framing": ("persistent",),
    "envelope": ("persistent",),
    "processes": ("persistent",),
    "max_jobs": ("persistent",),
    "idle_timeout": ("prespawn", "persistent"),
}


def impossible(table: FunctionTable, own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of a function that have no meaning with its others, and what to say of each.

    `table` has the function's options with `[defaults]` under them, `own` only those that the function itself says:
    an option for one mode may stand in `[defaults]` for all.
    """
    for key, modes in _MODES_OF.items():
        if key in own and table.mode not in modes:
            wanted = " or ".join(f'"{mode}"' for mode in modes)
            yield key, f'has no meaning with mode = "{table.mode}"; it needs mode = {wanted}'
    for key, message in _contradictions(table):
        yield key, message if key in own else f"{message}; it comes from [defaults]"


def _contradictions(table: FunctionTable) -> Iterator[tuple[str, str]]:
    if table.stream and table.mode == "persistent":
        yield "stream", 'cannot be with mode = "persistent", whose results are whole lines or frames'
    if table.stream and table.output != "bytes":
        yield "stream", f'cannot be with output = "{table.output}", which needs the whole result before it is posted'
    if table.credentials and table.mode == "prespawn":
        yield "credentials", 'cannot be with mode = "prespawn": the process is started before its job is known'
    if table.credentials and table.mode == "persistent" and not table.envelope:
        yield "credentials", 'needs envelope = true with mode = "persistent": the tokens are in the envelope'
    if table.check_results and table.stream and table.returns is not UNSET:  # without a type nothing is checked
        yield "check_results", "cannot be with stream = true: a result is checked as a whole, before it is posted"


def without_types(own: Mapping[str, Any], entry: object) -> Iterator[tuple[str, str]]:
    """The checks that a function asks for with nothing to check against; `entry` is what stands in the file."""
    said = entry if isinstance(entry, Mapping) else {}
    if own.get("check_queries") and "inputs" not in said:
        yield "check_queries", "needs inputs, the types to check a query against"
    if own.get("check_results") and "returns" not in said:
        yield "check_results", "needs returns, the type to check a result against"
