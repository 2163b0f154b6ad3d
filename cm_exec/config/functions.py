"""The `[functions]` table, with `[defaults]` applied to each function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, Struct

from cm_exec.config.checks import (
    applicable_defaults,
    checks_without_types,
    function_conflicts,
    http_request,
    invalid_keys,
    report_conflicts,
)
from cm_exec.config.diagnostics import Diagnostics, describe
from cm_exec.config.model import Function, Output, Service
from cm_exec.config.schema import FunctionEntry, FunctionName, FunctionTable, ServiceTable
from cm_exec.config.services import Defaults, build_service, users_of, value_of
from cm_exec.config.signature import Signature, TypeReader
from cm_exec.config.validate import dotted_name, read_table, read_value
from cm_exec.text import did_you_mean, quoted

_UNITS: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


class ParsedFunction(Struct, frozen=True):
    """A function as in the file, with `[defaults]` applied and its types read."""

    table: FunctionTable
    signature: Signature


def read_functions(
    table: object,
    defaults: Defaults,
    services: Mapping[str, ServiceTable | None],
    types: TypeReader,
    diagnostics: Diagnostics,
) -> dict[str, ParsedFunction]:
    """Return the valid functions by name."""
    if not isinstance(table, dict):
        diagnostics.add(("functions",), f"expected a table of functions, found {describe(table)}")
        return {}
    if not table:
        diagnostics.add(("functions",), "expected at least one function, found none")
    reader = _FunctionReader(table, defaults, services, types, diagnostics)
    functions = {name: reader.read(name, entry) for name, entry in table.items()}
    return {name: function for name, function in functions.items() if function is not None}


class _FunctionReader:
    """Reads the functions of a file, which knows its services and types."""

    def __init__(
        self,
        functions: Mapping[str, object],
        defaults: Defaults,
        services: Mapping[str, ServiceTable | None],
        types: TypeReader,
        diagnostics: Diagnostics,
    ) -> None:
        self._functions = functions
        self._defaults = defaults
        self._services = services
        self._types = types
        self._diagnostics = diagnostics

    def read(self, name: str, entry: object) -> ParsedFunction | None:
        """Return a function, None if its entry is neither a command nor a table; what is invalid in it is reported."""
        at = ("functions", name)
        own = self._own_values(name, entry)
        if own is None:
            return None
        signature = self._types.signature(own, at)
        env = {**self._defaults.values.get("env", {}), **own.get("env", {})}
        table = FunctionTable(**{**applicable_defaults(self._defaults.values, own), **own, "env": env})
        self._check(name, entry, table, own)
        return ParsedFunction(table, signature)

    def _own_values(self, name: str, entry: object) -> dict[str, Any] | None:
        at = ("functions", name)
        read_value(name, FunctionName, at, self._diagnostics)
        if whole := dotted_name(name, entry):
            self._diagnostics.add(at, f"a name with a dot needs quotes; did you mean {quoted(whole)}?")
        elif isinstance(entry, dict):
            return read_table(entry, FunctionTable, at, self._diagnostics)
        else:
            command = read_value(entry, FunctionEntry, at, self._diagnostics)
            return {"command": command} if isinstance(command, str | tuple) else None
        return None

    def _check(self, name: str, entry: object, table: FunctionTable, own: Mapping[str, Any]) -> None:
        def report(key: str, message: str) -> None:
            self._diagnostics.add(("functions", name, key), message)

        ignored = invalid_keys(entry, own) | (self._defaults.invalid - own.keys())
        service: ServiceTable | None = None
        users: tuple[str, ...] = (name,)
        if "service" in own:
            named = own["service"]
            if named not in self._services:
                hint = did_you_mean(named, self._services, otherwise="there are", quote=quoted)
                missing = hint or f"there is no [services.{named}]"
                report("service", f"expected the name of a service, found {quoted(named)}; {missing}")
            service, users = self._services.get(named), users_of(named, self._functions)
        elif table.mode == "persistent" and name in self._services:
            report("mode", f'"persistent" makes a service of this name; rename [services.{name}]')
        inherited = self._defaults.values.keys() - own.keys()
        report_conflicts(function_conflicts(table, own, service, users), inherited, ignored, report)
        for key, message in checks_without_types(own, entry):
            report(key, message)


def build_function(name: str, parsed: ParsedFunction, services: Mapping[str, Service], folder: Path) -> Function:
    """Return a function as the program uses it, with absolute folders, sizes in bytes and None for no limit."""
    table, signature = parsed.table, parsed.signature
    service = services.get(str(table.service))
    if service is None and table.mode == "persistent":
        service = build_service(name, table, (name,), folder)
    process = service or build_service(name, table, (name,), folder)
    is_http = service is not None and service.protocol == "http"
    return Function(
        name=name,
        command=process.command,
        timeout=table.timeout or None,
        max_output=_size_in_bytes(table.max_output),
        output=_output(table, service),
        env=process.env,
        cwd=process.cwd,
        inherit_env=process.inherit_env,
        max_concurrency=value_of(table.max_concurrency),
        credentials=process.credentials if table.credentials is UNSET else table.credentials,
        mode="persistent" if service else table.mode,
        service=service,
        request=http_request(table, name) if is_http else None,
        stream=table.stream,
        result_fd=process.result_fd,
        idle_timeout=process.idle_timeout,
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
