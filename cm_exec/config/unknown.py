"""Keys that do not belong where they stand: not known, or known elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from cm_exec.config.diagnostics import Findings, KeyPath
from cm_exec.config.schema import File, FunctionOptions, FunctionTable, LauncherTable
from cm_exec.text import closest_match, did_you_mean

_HOMES: Final[Mapping[type[Struct], str]] = {
    LauncherTable: "[launcher]",
    FunctionOptions: "[defaults] or [functions.NAME]",
    FunctionTable: "[functions.NAME]",
    File: "the top of the file",
}


def refuse_key(key: str, table: Mapping[str, Any], shape: type[Struct], at: KeyPath, findings: Findings) -> str | None:
    """Report a key that is none of the shape's. The answer is the key that was most likely meant."""
    meant = closest_match(key, shape.__struct_encode_fields__)
    findings.add((*at, key), "; ".join(_unknown(key, table, shape, meant)))
    return meant


def _unknown(key: str, table: Mapping[str, Any], shape: type[Struct], meant: str | None) -> Iterator[str]:
    home = next((name for other, name in _HOMES.items() if key in other.__struct_encode_fields__), None)
    value, keys = table[key], sorted(shape.__struct_encode_fields__)
    if home:
        yield f"not known here, it belongs in {home}"
    elif shape is File and not meant and _is_command(value):
        yield "not known here, a function belongs in [functions]"
    else:
        yield "unknown key"
    yield from filter(None, [did_you_mean(key, keys, otherwise="" if home else "the keys here are")])


def _is_command(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and "command" in value)


def dotted_name(name: str, table: object) -> str | None:
    """The whole name of a function such as `a.b`, which TOML reads as tables in each other where quotes are missing."""
    options = FunctionTable.__struct_encode_fields__
    while isinstance(table, dict) and table and not any(closest_match(key, options) for key in table):
        key, table = next(iter(table.items()))
        name = f"{name}.{key}"
        if _is_command(table):
            return name
    return None
