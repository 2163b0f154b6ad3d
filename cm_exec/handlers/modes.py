"""From a function's mode to the handler that runs it."""

from collections.abc import Iterable

from cm_exec.config.types import Function
from cm_exec.handlers.checked import CheckedHandler
from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.handlers.spawn import SpawnHandler


def create_handlers(functions: Iterable[Function], surroundings: Surroundings, slots: int) -> dict[str, Handler]:
    """A handler for each function, by the function's name; `slots` is how many jobs run at once at most."""
    return {function.name: _create(function, surroundings, slots) for function in functions}


def _create(function: Function, surroundings: Surroundings, slots: int) -> Handler:
    handler = _create_by_mode(function, surroundings, slots)
    checked = function.check_queries or function.check_results
    return CheckedHandler(function, handler) if checked else handler


def _create_by_mode(function: Function, surroundings: Surroundings, slots: int) -> Handler:
    match function.mode:
        case "spawn":
            return SpawnHandler(function, surroundings)
        case "prespawn":
            from cm_exec.handlers.prespawn import PrespawnHandler  # noqa: PLC0415 - most have no such function

            return PrespawnHandler(function, surroundings, slots)
        case "persistent":
            from cm_exec.handlers.persistent import PersistentHandler  # noqa: PLC0415 - nor such

            return PersistentHandler(function, surroundings, slots)


def shares(functions: Iterable[Function]) -> dict[str, int]:
    """How many jobs of a function run at once at most, for the functions that have a limit of their own."""
    limits = {f.name: [n for n in (f.max_concurrency, f.processes) if n is not None] for f in functions}
    return {name: min(numbers) for name, numbers in limits.items() if numbers}
