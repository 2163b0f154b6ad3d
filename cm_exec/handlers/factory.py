"""Create the handler for each function."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cm_exec.config.model import Function
from cm_exec.handlers.base import Handler, HandlerContext
from cm_exec.handlers.spawn import PrespawnHandler, SpawnHandler

if TYPE_CHECKING:
    from cm_exec.handlers.http_service import HttpService
    from cm_exec.handlers.service import ServicePool


def create_handlers(functions: Iterable[Function], context: HandlerContext, slots: int) -> dict[str, Handler]:
    """Return a handler for each function, by its name; `slots` is the largest number of jobs that run at a time."""
    functions = list(functions)
    handlers: dict[str, Handler] = {}
    pools: dict[str, ServicePool] = {}
    servers: dict[str, HttpService] = {}
    for function in functions:
        handler: Handler
        if function.service is not None and function.service.protocol == "http":
            from cm_exec.handlers import http_handler, http_service  # noqa: PLC0415 - most modules have none

            name = function.service.name
            if name not in servers:
                servers[name] = http_service.HttpService(function.service, context)
            handler = http_handler.HttpHandler(function, context, servers[name])
        elif function.service is not None:
            from cm_exec.handlers import service  # noqa: PLC0415 - most modules have none

            name = function.service.name
            if name not in pools:
                users = [f for f in functions if f.service is not None and f.service.name == name]
                jobs_at_a_time = min(slots, sum(f.max_concurrency or slots for f in users))
                pools[name] = service.ServicePool(function.service, context, jobs_at_a_time)
            handler = service.ServiceHandler(function, context, pools[name])
        elif function.mode == "prespawn":
            handler = PrespawnHandler(function, context, slots)
        else:
            handler = SpawnHandler(function, context)
        if function.check_queries or function.check_results:
            from cm_exec.handlers.validation import ValidatingHandler  # noqa: PLC0415 - as above

            handler = ValidatingHandler(function, handler)
        handlers[function.name] = handler
    return handlers


def concurrency_limits(functions: Iterable[Function]) -> dict[str, int]:
    """Return how many jobs of a function run at a time, for the functions that have a limit of their own."""
    limits: dict[str, int] = {}
    for function in functions:
        service = function.service
        numbers = [] if function.max_concurrency is None else [function.max_concurrency]
        if service is not None and service.processes is not None and len(service.functions) <= 1:
            numbers.append(service.processes * service.jobs_per_process)
        if numbers:
            limits[function.name] = min(numbers)
    return limits
