"""Create the handler for each function, with checks of queries and results against the types that it declares."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cm_exec.config import Function
from cm_exec.datatypes import BINARY
from cm_exec.datatypes.check import Check, TypeMismatchError, checker
from cm_exec.handlers import Completion, Handler, HandlerContext, StderrSink
from cm_exec.handlers.spawn import PrespawnHandler, SpawnHandler
from cm_exec.handlers.spool import StreamingSpool
from cm_exec.processes.worker_loop import in_thread
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.function_schema import query_checker
from cm_exec.protocol.json_text import InvalidJsonError, decode_json

if TYPE_CHECKING:
    from cm_exec.handlers.http_service import HttpService
    from cm_exec.handlers.service import ServicePool

_LARGE = 256 * 1024
"""Bytes of a query or result above which a check would hold the loop for more than 10 ms."""


class Validator:
    """The checks of one function. They only read: what is passed on stays as it came."""

    def __init__(self, function: Function) -> None:
        returns = function.returns
        self._query = None if function.inputs is None else query_checker(function.inputs)
        self._result = None if returns is None or returns.type in {None, BINARY} else checker(returns.type)
        self._is_void = returns is not None and returns.type is None

    def query_problem(self, query: bytes) -> str | None:
        """Return why the query does not match `inputs`: JSON path, expected type, kind of the value found.

        None if it matches, or if no inputs are declared. Values are not shown: queries must not get into logs.
        """
        return None if self._query is None else _problem(query, self._query)

    def result_problem(self, result: bytes) -> str | None:
        """Return the same for the result and `returns`.

        A void function's result is nothing, or null. A binary result is any bytes.
        """
        if self._is_void and result.strip() not in {b"", b"null"}:
            return "expected nothing or null, found a result"
        return None if self._result is None else _problem(result, self._result)


class ValidatingHandler(Handler):
    """Wraps a handler of any mode, and rejects queries and results that do not match the declared types."""

    def __init__(self, function: Function, context: HandlerContext, handler: Handler) -> None:
        super().__init__(function, context)
        self._handler = handler
        self._validator = Validator(function)

    async def open(self) -> None:
        """Open the handler."""
        await self._handler.open()

    async def wait_until_ready(self) -> None:
        """Wait for the handler."""
        await self._handler.wait_until_ready()

    async def close(self) -> None:
        """Close the handler."""
        await self._handler.close()

    async def run(self, job: Job, spool: StreamingSpool, stderr: StderrSink) -> Completion:
        """Run one job if its query matches the inputs; see Handler."""
        function, validator = self._function, self._validator
        if function.check_queries:
            problem = await _check(len(job.query), lambda: validator.query_problem(bytes(job.query)))
            if problem is not None:
                message = f"the query does not match the inputs of {function.name!r}: {problem}"
                return Completion(Failure(reason=Reason.INVALID_QUERY, message=message))
        completion = await self._handler.run(job, spool, stderr)
        if completion.failure is not None or not function.check_results:
            return completion
        problem = await _check(spool.size, lambda: validator.result_problem(spool.getvalue()))
        if problem is None:
            return completion
        message = f"the result of {function.name!r} does not match its returns: {problem}"
        return Completion(Failure(reason=Reason.INVALID_OUTPUT, message=message), completion.cleanup)


async def _check(size: int, check: Callable[[], str | None]) -> str | None:
    """Check a small text at once, a large one on a helper thread."""
    return check() if size <= _LARGE else await in_thread(check)


def _problem(text: bytes, check: Check) -> str | None:
    try:
        check(decode_json(text))
    except InvalidJsonError as error:
        return f"expected JSON: {error}"
    except TypeMismatchError as error:
        return str(error)
    return None


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
            handler = ValidatingHandler(function, context, handler)
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
