"""From a function's mode to the handler that runs it."""

from collections.abc import Iterable

from cm_exec.config.types import Function
from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.handlers.spawn import SpawnHandler


def create_handlers(functions: Iterable[Function], surroundings: Surroundings) -> dict[str, Handler]:
    """A handler for each function, by the function's name."""
    return {function.name: SpawnHandler(function, surroundings) for function in functions}
