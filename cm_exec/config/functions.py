"""The `[functions]` table, with `[defaults]` under each function's own options."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgspec import UNSET, Struct

from cm_exec.config.checks import fitting, impossible, unclear, without_types
from cm_exec.config.diagnostics import Findings, found
from cm_exec.config.model import Function
from cm_exec.config.schema import FunctionEntry, FunctionName, FunctionOptions, FunctionTable
from cm_exec.config.signature import Signature, TypeReader
from cm_exec.config.unknown import dotted_name
from cm_exec.config.validate import mismatch, read_table, read_value
from cm_exec.text import quoted

_UNITS: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


class Defaults(Struct, frozen=True):
    """The right values of `[defaults]`, and the options of which it says something wrong."""

    values: Mapping[str, Any]
    unclear: frozenset[str]


class Declared(Struct, frozen=True):
    """A function as the file has it, with `[defaults]` under it and its types read."""

    table: FunctionTable
    signature: Signature


def read_defaults(table: object, findings: Findings) -> Defaults:
    """The `[defaults]` table."""
    values = read_table(table, FunctionOptions, ("defaults",), findings)
    return Defaults(values, unclear(table, values))


def read_functions(table: object, defaults: Defaults, types: TypeReader, findings: Findings) -> dict[str, Declared]:
    """The right functions by name."""
    if not isinstance(table, dict):
        findings.add(("functions",), f"expected a table of functions, found {found(table)}")
        return {}
    if not table:
        findings.add(("functions",), "expected at least one function, found none")
    functions = {name: _read_function(name, entry, defaults, types, findings) for name, entry in table.items()}
    return {name: function for name, function in functions.items() if function is not None}


def _read_function(
    name: str, entry: object, defaults: Defaults, types: TypeReader, findings: Findings
) -> Declared | None:
    own = _own_values(name, entry, findings)
    signature = types.signature(own, ("functions", name))
    if "command" not in own:
        return None
    env = {**defaults.values.get("env", {}), **own.get("env", {})}
    whole = FunctionTable(**{**fitting(defaults.values, own), **own, "env": env})
    doubts = unclear(entry, own) | (defaults.unclear - own.keys())
    for key, message in (*impossible(whole, own, doubts), *without_types(own, entry)):
        findings.add(("functions", name, key), message)
    return Declared(whole, signature)


def _own_values(name: str, entry: object, findings: Findings) -> dict[str, Any]:
    at = ("functions", name)
    read_value(name, FunctionName, at, findings)
    if whole := dotted_name(name, entry):
        findings.add(at, f"a name with a dot needs quotes; did you mean {quoted(whole)}?")
    elif isinstance(entry, dict):
        return read_table(entry, FunctionTable, at, findings)
    elif isinstance(entry, list) and entry:
        findings.add(at, f"{mismatch(entry, FunctionEntry)}; did you mean {{ command = [...] }}?")
    else:
        return {"command": read_value(entry, FunctionEntry, at, findings)}
    return {}


def resolved(name: str, declared: Declared, folder: Path) -> Function:
    """The function as the program uses it: the folder absolute, sizes in bytes, None for no limit."""
    table, signature = declared.table, declared.signature
    return Function(
        name=name,
        command=table.command,
        timeout=table.timeout or None,
        max_output=_size_in_bytes(table.max_output),
        output=table.output,
        env=MappingProxyType(dict(table.env)),
        cwd=folder / table.cwd,
        inherit_env=None if table.inherit_env is UNSET else table.inherit_env,
        max_concurrency=None if table.max_concurrency is UNSET else table.max_concurrency,
        credentials=table.credentials,
        mode=table.mode,
        stream=table.stream,
        result_fd=table.result_fd,
        framing=table.framing,
        envelope=table.envelope,
        processes=None if table.processes is UNSET else table.processes,
        max_jobs=None if table.max_jobs is UNSET else table.max_jobs,
        idle_timeout=None if table.idle_timeout is UNSET else table.idle_timeout or None,
        description=None if table.description is UNSET else table.description,
        inputs=signature.inputs,
        returns=signature.returns,
        check_queries=table.check_queries,
        check_results=table.check_results,
    )


def _size_in_bytes(size: int | str) -> int:
    if isinstance(size, int):
        return size
    unit = next(unit for unit in _UNITS if size.endswith(unit))
    return int(size.removesuffix(unit)) * _UNITS[unit]
