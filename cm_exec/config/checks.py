"""Checks of options that cannot be combined, for functions and services."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from cm_exec.config import HttpRequest, Protocol, ServerAddress
from cm_exec.config.schema.functions import FunctionOptions, FunctionTable, ServiceOptions, ServiceTable
from cm_exec.config.schema.keys import key_spec
from cm_exec.config.validate import meant_key
from cm_exec.text import did_you_mean, quoted

MODES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "idle_timeout": ("prespawn", "persistent"),
    "protocol": ("persistent",),
    "envelope": ("persistent",),
    "processes": ("persistent",),
    "jobs_per_process": ("persistent",),
    "ready": ("persistent",),
    "start_timeout": ("persistent",),
    "max_jobs": ("persistent",),
    "url": ("persistent",),
    "request": ("persistent",),
    "query": ("persistent",),
    "body": ("persistent",),
    "job_dir": ("spawn", "prespawn"),
    "error_output": ("spawn", "prespawn"),
}
"""Options that are valid in certain modes only."""

PROTOCOLS_OF: Final[Mapping[str, tuple[Protocol, ...]]] = {
    "result_fd": ("lines", "content-length"),
    "envelope": ("lines", "content-length"),
    "url": ("http",),
    "request": ("http",),
    "query": ("http",),
    "body": ("http",),
}
"""Options of services, and of functions that use one, that are valid with certain protocols only."""

_PROCESS_KEYS: Final = ("env", "cwd", "inherit_env", "result_fd", "processes", "max_jobs", "idle_timeout")
"""Options of a service that need a command."""

_SERVICE_KEYS: Final = frozenset(ServiceTable.__struct_encode_fields__)
_KEYS_OF_SERVICE_USERS: Final = (
    frozenset(FunctionOptions.__struct_encode_fields__) - _SERVICE_KEYS - {"mode", "job_dir", "error_output"}
)
_FOUNDRY_PORTS: Final = (8945, 8946)
_MOST_PORT: Final = 65_535

Conflict = tuple[str, tuple[str, ...], str]
"""A key, the other keys that it conflicts with, and the message."""


def applicable_defaults(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `[defaults]` that have a meaning for a function with these values of its own."""
    if "service" in own:
        return {key: value for key, value in defaults.items() if key in _KEYS_OF_SERVICE_USERS}
    mode = own.get("mode", defaults.get("mode", "spawn"))
    applicable = {key: value for key, value in defaults.items() if mode in MODES_OF.get(key, (mode,))}
    return _applicable_to_service(applicable, own) if mode == "persistent" else applicable


def applicable_service_defaults(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `[defaults]` that have a meaning for a service with these values of its own."""
    of_services = {key: value for key, value in defaults.items() if key in ServiceOptions.__struct_encode_fields__}
    return _applicable_to_service(of_services, own)


def _applicable_to_service(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    protocol = own.get("protocol", defaults.get("protocol", "lines"))
    left_out = {key for key, protocols in PROTOCOLS_OF.items() if protocol not in protocols}
    left_out.update(() if protocol != "http" else ("processes", "ready"))
    left_out.update(() if "command" in own else _PROCESS_KEYS)
    return {key: value for key, value in defaults.items() if key not in left_out}


def invalid_keys(raw: object, values: Mapping[str, Any], shape: type[Struct] = FunctionTable) -> frozenset[str]:
    """Return the keys of a raw table that are not among its valid values, or that a misspelt key was meant to be.

    Their intended value is unknown, so they are ignored in the checks for conflicts.
    """
    wrong = [key for key in raw if key not in values] if isinstance(raw, Mapping) else []
    meant = (meant_key(key, shape) for key in wrong)
    return frozenset(key for key in meant if key)


def report_conflicts(
    conflicts: Iterator[Conflict],
    inherited: Collection[str],
    ignored: frozenset[str],
    report: Callable[[str, str], None],
) -> None:
    """Report each conflict that has no ignored key. `inherited` are the keys whose value comes from `[defaults]`."""
    for key, others, message in conflicts:
        if not ignored & {key, *others}:
            report(key, f"{message}; it comes from [defaults]" if key in inherited else message)


def service_conflicts(
    table: ServiceTable | FunctionTable, own: Collection[str], functions: Collection[str]
) -> Iterator[Conflict]:
    """Yield the conflicts between the options of a service that these functions use."""
    for key, protocols in PROTOCOLS_OF.items():
        if key in own and table.protocol not in protocols:
            yield (
                key,
                ("protocol",),
                f"only valid with {_either('protocol', protocols)}; this service uses {quoted(table.protocol)}",
            )
    if table.protocol == "http":
        yield from _http_conflicts(table)
    else:
        yield from _message_conflicts(table, functions)
    if table.command is UNSET:
        for key in _PROCESS_KEYS:
            if key in own and table.protocol in PROTOCOLS_OF.get(key, ("http",)):
                yield key, ("command", "protocol"), "needs a command: cm-exec does not start this server"


def _http_conflicts(table: ServiceTable | FunctionTable) -> Iterator[Conflict]:
    if isinstance(table.url, str):
        if problem := _port_problem(ServerAddress.of_url(table.url)):
            yield "url", (), problem
    else:
        yield "url", ("protocol",), "expected the URL of the server, found nothing"
    if isinstance(table.processes, int) and table.processes > 1:
        yield "processes", ("protocol",), 'cannot be above 1 with protocol = "http": all would listen on the same url'
    if isinstance(table.ready, str) and not table.ready.startswith("/"):
        yield "ready", ("protocol",), f'expected a path with protocol = "http", found {quoted(table.ready)}'


def _message_conflicts(table: ServiceTable | FunctionTable, functions: Collection[str]) -> Iterator[Conflict]:
    with_protocol = f"with protocol = {quoted(table.protocol)}"
    if table.command is UNSET:
        yield "command", ("service", "protocol"), f"expected {COMMAND_WORDS}, found nothing"
    if isinstance(table.ready, str) and table.ready.startswith("/"):
        yield "ready", ("protocol",), f'expected "read" or "message" {with_protocol}, found {quoted(table.ready)}'
    if table.envelope is False and isinstance(table.jobs_per_process, int) and table.jobs_per_process > 1:
        yield "envelope", ("jobs_per_process",), "cannot be false with jobs_per_process above 1: results name their job"
    if table.envelope is False and len(functions) > 1:
        yield "envelope", (), "cannot be false: the service has several functions, and a query must name its function"
    if table.credentials is True and not has_envelope(table, functions):
        yield "credentials", ("envelope", "jobs_per_process"), f"needs envelope = true {with_protocol}: {_TOKENS}"


COMMAND_WORDS: Final = key_spec(FunctionTable.__annotations__["command"]).words
_TOKENS: Final = "the tokens are in the envelope"


def has_envelope(table: ServiceTable | FunctionTable, functions: Collection[str]) -> bool:
    """Return whether the messages of a service name their job."""
    if table.protocol == "http":
        return False
    several_jobs = isinstance(table.jobs_per_process, int) and table.jobs_per_process > 1
    return table.envelope is True or several_jobs or len(functions) > 1


def function_conflicts(
    table: FunctionTable, own: Mapping[str, Any], service: ServiceTable | None, users: Collection[str]
) -> Iterator[Conflict]:
    """Yield the conflicts between the options of a function.

    `table` has the function's options with `[defaults]` applied, `own` only those of the function itself. `service` is
    the table of the service that it names, None if it names none or that one is invalid; `users` are the functions that
    use its service.
    """
    if "service" in own:
        yield from _conflicts_with_service(own)
    else:
        yield from _conflicts_with_mode(table, own)
    server = service if "service" in own else table if table.mode == "persistent" else None
    if server is not None:
        yield from _conflicts_with_protocol(table, own, server, users)
    if table.stream and table.output in {"json", "text"}:
        needs = "which needs the whole result before it is posted"
        yield "stream", ("output",), f"cannot be combined with output = {quoted(str(table.output))}, {needs}"
    if table.check_results and table.stream and table.returns is not UNSET:  # without a type nothing is checked
        message = "cannot be combined with stream: a result is checked as a whole, before it is posted"
        yield "check_results", ("stream",), message
    if table.error_output and table.stream:
        yield "error_output", ("stream",), "cannot be combined with stream: the output has been posted already"


def _conflicts_with_service(own: Mapping[str, Any]) -> Iterator[Conflict]:
    uses = f"this function uses the service {quoted(own['service'])}"
    for key in own:
        if key == "mode":
            yield key, (), f"cannot be combined with service: {uses}"
        elif key in _SERVICE_KEYS - {"credentials"}:
            yield key, (), f"belongs in [services.NAME]: {uses}"
        elif key in MODES_OF and "persistent" not in MODES_OF[key]:
            yield key, (), f"only valid with {_either('mode', MODES_OF[key])}; {uses}"


def _conflicts_with_mode(table: FunctionTable, own: Mapping[str, Any]) -> Iterator[Conflict]:
    for key, modes in MODES_OF.items():
        if key in own and table.mode not in modes:
            message = f"only valid with {_either('mode', modes)}; this function uses {quoted(table.mode)}"
            yield key, ("mode",), message
    if table.mode == "persistent":
        yield from service_conflicts(table, own, [""])
        return
    if table.command is UNSET:
        yield "command", ("service", "mode"), "expected a command or a service, found nothing"
    if table.stream == "sse":
        message = f'"sse" is only valid with an HTTP service; this function uses mode = {quoted(table.mode)}'
        yield "stream", ("mode", "service"), message
    if table.credentials is True and table.mode == "prespawn":
        message = 'cannot be combined with mode = "prespawn": the process is started before its job is known'
        yield "credentials", ("mode",), message


def _conflicts_with_protocol(
    table: FunctionTable, own: Mapping[str, Any], server: ServiceTable | FunctionTable, users: Collection[str]
) -> Iterator[Conflict]:
    """Yield the conflicts with the protocol of the service that serves the function."""
    protocol = f"this function's service uses {quoted(server.protocol)}"
    if server.protocol == "http":
        yield from _request_conflicts(table)
        return
    if server is not table:
        for key in ("request", "query", "body"):
            if key in own:
                yield key, (), f'only valid with protocol = "http"; {protocol}'
        if "credentials" in own and table.credentials is True and not has_envelope(server, users):
            yield "credentials", (), f"needs envelope = true in [services.NAME]: {_TOKENS}"
    if table.stream == "sse":
        yield "stream", ("protocol",), f'"sse" is only valid with protocol = "http"; {protocol}'
    elif table.stream and not has_envelope(server, users):
        chunks = "each chunk is a message that names its job"
        yield "stream", ("mode", "envelope", "jobs_per_process"), f"needs a service with envelope = true: {chunks}"


def _request_conflicts(table: FunctionTable) -> Iterator[Conflict]:
    request = http_request(table, "")
    if request.body is not None and not request.has_body:
        yield "body", ("request",), f"only valid with POST, PUT or PATCH; this request is {request.method}"
    places = [("request", name) for name in request.path_inputs] + [("query", name) for name in request.query]
    places += [("body", request.body)] if request.body is not None else []
    names = [name for _, name in places]
    for index, (key, name) in enumerate(places):
        if name in names[:index]:
            yield key, ("request",), f"the input {quoted(name)} is used twice"
            return
    if table.inputs is UNSET:
        return
    for where, name in places:
        if name not in table.inputs:
            hint = did_you_mean(name, table.inputs, otherwise="the inputs are", quote=quoted)
            message = f"expected the name of an input, found {quoted(name)}"
            yield where, ("inputs",), "; ".join(filter(None, (message, hint)))
            return
    is_whole_query = request.has_body and request.body is None
    if not is_whole_query and (rest := [name for name in table.inputs if name not in names]):
        why = "the body is another input" if request.has_body else f"{request.method} has no body"
        message = f"{why}: put {', '.join(map(quoted, rest))} into the path or here"
        yield "query", ("inputs", "request", "body"), f"expected the other inputs: {message}"


def http_request(table: FunctionTable, function: str) -> HttpRequest:
    """Return how jobs of a function become requests."""
    from urllib.parse import quote  # noqa: PLC0415 - most modules have no HTTP service

    text = table.request if isinstance(table.request, str) else f"POST /{quote(function)}"
    return HttpRequest.of_text(text, table.query, None if table.body is UNSET else table.body)


def _port_problem(address: ServerAddress) -> str | None:
    if address.socket is not None:
        return None
    if address.port in _FOUNDRY_PORTS:
        return f"port {address.port} belongs to Foundry's runtime; let the server listen on another one"
    return None if 0 < address.port <= _MOST_PORT else f"expected a port from 1 to {_MOST_PORT}, found {address.port}"


def checks_without_types(own: Mapping[str, Any], entry: object) -> Iterator[tuple[str, str]]:
    """Yield the checks that a function enables without a type to check against; `entry` is its raw value."""
    raw = entry if isinstance(entry, Mapping) else {}
    if own.get("check_queries") and "inputs" not in raw:
        yield "check_queries", "needs inputs, the types to check a query against"
    if own.get("check_results") and "returns" not in raw:
        yield "check_results", "needs returns, the type to check a result against"


def _either(key: str, values: Collection[str]) -> str:
    return f"{key} = {' or '.join(map(quoted, values))}"
