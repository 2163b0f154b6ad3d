"""The `[services]` table."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import UNSET, Struct

from cm_exec.config.checks import (
    applicable_service_defaults,
    has_envelope,
    invalid_keys,
    report_conflicts,
    server_address,
    service_conflicts,
)
from cm_exec.config.diagnostics import Diagnostics, describe
from cm_exec.config.model import Service
from cm_exec.config.schema import MAX_SLOTS, FunctionName, FunctionOptions, FunctionTable, ServiceTable
from cm_exec.config.validate import read_table, read_value
from cm_exec.text import quoted


class Defaults(Struct, frozen=True):
    """The valid values of `[defaults]`, and the keys with an invalid value."""

    values: Mapping[str, Any]
    invalid: frozenset[str]


def read_defaults(table: object, diagnostics: Diagnostics) -> Defaults:
    """Read the `[defaults]` table."""
    values = read_table(table, FunctionOptions, ("defaults",), diagnostics)
    return Defaults(values, invalid_keys(table, values))


def read_services(
    table: object, functions: object, defaults: Defaults, diagnostics: Diagnostics
) -> dict[str, ServiceTable | None]:
    """Return the services by name, None for an invalid one. `functions` is the raw `[functions]` table."""
    if not isinstance(table, dict):
        diagnostics.add(("services",), f"expected a table of services, found {describe(table)}")
        return {}
    return {
        name: _read_service(name, entry, users_of(name, functions), defaults, diagnostics)
        for name, entry in table.items()
    }


def users_of(service: str, functions: object) -> tuple[str, ...]:
    """Return the names of the functions in a raw `[functions]` table that name the service."""
    entries = functions.items() if isinstance(functions, dict) else ()
    return tuple(name for name, entry in entries if isinstance(entry, dict) and entry.get("service") == service)


def _read_service(
    name: str, entry: object, users: tuple[str, ...], defaults: Defaults, diagnostics: Diagnostics
) -> ServiceTable | None:
    at = ("services", name)
    known = len(diagnostics.problems)
    read_value(name, FunctionName, at, diagnostics)
    own = read_table(entry, ServiceTable, at, diagnostics)
    if not users:
        diagnostics.add(at, f"no function uses this service; a function does so with service = {quoted(name)}")
    if not isinstance(entry, dict):
        return None
    env = {**defaults.values.get("env", {}), **own.get("env", {})}
    table = ServiceTable(**{**applicable_service_defaults(defaults.values, own), **own, "env": env})
    ignored = invalid_keys(entry, own, ServiceTable) | (defaults.invalid - own.keys())
    conflicts = service_conflicts(table, own, users)
    inherited = defaults.values.keys() - own.keys()
    report_conflicts(conflicts, inherited, ignored, lambda key, message: diagnostics.add((*at, key), message))
    return table if len(diagnostics.problems) == known else None


def build_service(name: str, table: ServiceTable | FunctionTable, functions: tuple[str, ...], folder: Path) -> Service:
    """Return a service as the program uses it, with absolute folders and None for no limit."""
    is_http = table.protocol == "http"
    return Service(
        name=name,
        command=value_of(table.command),
        env=MappingProxyType(dict(table.env)),
        cwd=folder / table.cwd,
        inherit_env=value_of(table.inherit_env),
        credentials=table.credentials is True,
        result_fd=table.result_fd,
        protocol=table.protocol,
        envelope=has_envelope(table, functions),
        processes=1 if is_http else value_of(table.processes),
        jobs_per_process=value_of(table.jobs_per_process) or (MAX_SLOTS if is_http else 1),
        ready=value_of(table.ready) or ("" if is_http else "read"),
        start_timeout=table.start_timeout,
        max_jobs=value_of(table.max_jobs),
        idle_timeout=value_of(table.idle_timeout) or None,
        url=value_of(table.url),
        address=server_address(table.url) if isinstance(table.url, str) else None,
        functions=functions,
    )


def value_of(value: Any) -> Any:
    """Return the value of an optional key, None if it is not set."""
    return None if value is UNSET else value
