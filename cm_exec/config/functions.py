"""The `[functions]` and `[services]` tables, with `[defaults]` applied to each function and service."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgspec import UNSET, Struct

from cm_exec.config import Function, Output, ServerAddress, Service
from cm_exec.config.checks import (
    applicable_defaults,
    applicable_service_defaults,
    checks_without_types,
    function_conflicts,
    has_envelope,
    http_request,
    invalid_keys,
    report_conflicts,
    service_conflicts,
)
from cm_exec.config.schema.functions import FunctionEntry, FunctionOptions, FunctionTable, ServiceTable
from cm_exec.config.schema.keys import MAX_SLOTS, FunctionName
from cm_exec.config.signature import Signature, TypeReader
from cm_exec.config.validate import Diagnostics, describe, dotted_name, read_table, read_value
from cm_exec.text import did_you_mean, quoted


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
        **_program(table, folder),
        name=name,
        protocol=table.protocol,
        envelope=has_envelope(table, functions),
        processes=1 if is_http else value_of(table.processes),
        jobs_per_process=value_of(table.jobs_per_process) or (MAX_SLOTS if is_http else 1),
        ready=value_of(table.ready) or ("" if is_http else "read"),
        start_timeout=table.start_timeout,
        max_jobs=value_of(table.max_jobs),
        url=value_of(table.url),
        address=ServerAddress.of_url(table.url) if isinstance(table.url, str) else None,
        functions=functions,
    )


def _program(table: ServiceTable | FunctionTable, folder: Path) -> dict[str, Any]:
    """Return the fields of `Program`."""
    return {
        "command": value_of(table.command),
        "env": MappingProxyType(dict(table.env)),
        "cwd": folder / table.cwd,
        "inherit_env": value_of(table.inherit_env),
        "credentials": table.credentials is True,
        "result_fd": table.result_fd,
        "idle_timeout": value_of(table.idle_timeout) or None,
    }


def value_of(value: Any) -> Any:
    """Return the value of an optional key, None if it is not set."""
    return None if value is UNSET else value


_UNITS: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


class ParsedFunction(Struct, frozen=True):
    """A function as in the file, with `[defaults]` applied and its types read."""

    table: FunctionTable
    signature: Signature


class FunctionReader(Struct, frozen=True):
    """Reads `[functions]`; `functions` is the raw table, `services` has None for an invalid one."""

    functions: Any
    defaults: Defaults
    services: Mapping[str, ServiceTable | None]
    types: TypeReader
    diagnostics: Diagnostics

    def read_all(self) -> dict[str, ParsedFunction]:
        """Return the valid functions by name."""
        if not isinstance(self.functions, dict):
            self.diagnostics.add(("functions",), f"expected a table of functions, found {describe(self.functions)}")
            return {}
        if not self.functions:
            self.diagnostics.add(("functions",), "expected at least one function, found none")
        read = {name: self.read(name, entry) for name, entry in self.functions.items()}
        return {name: function for name, function in read.items() if function is not None}

    def read(self, name: str, entry: object) -> ParsedFunction | None:
        """Return a function, None if its entry is neither a command nor a table; what is invalid in it is reported."""
        at = ("functions", name)
        own = self._own_values(name, entry)
        if own is None:
            return None
        signature = self.types.signature(own, at)
        env = {**self.defaults.values.get("env", {}), **own.get("env", {})}
        table = FunctionTable(**{**applicable_defaults(self.defaults.values, own), **own, "env": env})
        self._check(name, entry, table, own)
        return ParsedFunction(table, signature)

    def _own_values(self, name: str, entry: object) -> dict[str, Any] | None:
        at = ("functions", name)
        read_value(name, FunctionName, at, self.diagnostics)
        if whole := dotted_name(name, entry):
            self.diagnostics.add(at, f"a name with a dot needs quotes; did you mean {quoted(whole)}?")
        elif isinstance(entry, dict):
            return read_table(entry, FunctionTable, at, self.diagnostics)
        else:
            command = read_value(entry, FunctionEntry, at, self.diagnostics)
            return {"command": command} if isinstance(command, str | tuple) else None
        return None

    def _check(self, name: str, entry: object, table: FunctionTable, own: Mapping[str, Any]) -> None:
        def report(key: str, message: str) -> None:
            self.diagnostics.add(("functions", name, key), message)

        ignored = invalid_keys(entry, own) | (self.defaults.invalid - own.keys())
        service: ServiceTable | None = None
        users: tuple[str, ...] = (name,)
        if "service" in own:
            named = own["service"]
            if named not in self.services:
                hint = did_you_mean(named, self.services, otherwise="the services are", quote=quoted)
                missing = hint or f"there is no [services.{named}]"
                report("service", f"expected the name of a service, found {quoted(named)}; {missing}")
            service, users = self.services.get(named), users_of(named, self.functions)
        elif table.mode == "persistent" and name in self.services:
            report("mode", f'"persistent" makes a service of this name; rename [services.{name}]')
        inherited = self.defaults.values.keys() - own.keys()
        report_conflicts(function_conflicts(table, own, service, users), inherited, ignored, report)
        for key, message in checks_without_types(own, entry):
            report(key, message)


def build_function(name: str, parsed: ParsedFunction, services: Mapping[str, Service], folder: Path) -> Function:
    """Return a function as the program uses it, with absolute folders, sizes in bytes and None for no limit."""
    table, signature = parsed.table, parsed.signature
    service = services.get(str(table.service))
    if service is None and table.mode == "persistent":
        service = build_service(name, table, (name,), folder)
    program = _program(table, folder)
    if service is not None:
        program = {field: getattr(service, field) for field in program}
    if table.credentials is not UNSET:
        program["credentials"] = table.credentials
    is_http = service is not None and service.protocol == "http"
    return Function(
        **program,
        name=name,
        timeout=table.timeout or None,
        max_output=_size_in_bytes(table.max_output),
        output=_output(table, service),
        max_concurrency=value_of(table.max_concurrency),
        mode="persistent" if service else table.mode,
        service=service,
        request=http_request(table, name) if is_http else None,
        stream=table.stream,
        job_dir=table.job_dir,
        error_output=table.error_output,
        description=value_of(table.description),
        inputs=signature.inputs,
        returns=signature.returns,
        edits=table.edits,
        check_queries=table.check_queries,
        check_results=table.check_results,
    )


def _output(table: FunctionTable, service: Service | None) -> Output:
    """Return the kind of output. Of a service with lines only JSON is a result: other lines are debug prints."""
    if table.output is not UNSET:
        return table.output
    return "json" if service is not None and service.protocol == "lines" and not table.stream else "bytes"


def _size_in_bytes(size: int | str) -> int:
    if isinstance(size, int):
        return size
    unit = next(unit for unit in _UNITS if size.endswith(unit))
    return int(size.removesuffix(unit)) * _UNITS[unit]
