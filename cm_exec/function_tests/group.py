"""The tests that share a handler, and the handler while they need it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.function_tests.case import Case
from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.handlers.modes import create_handlers

GroupKey = tuple[str, float | None]
"""A function, and the timeout that its test has in place of the function's."""


def group_key(case: Case) -> GroupKey:
    """Which handler the test needs: with another timeout it is another one."""
    return case.test.function, case.test.timeout


class Group:
    """A function's handler, opened for its first test and closed after its last.

    So functions that load for long, or need much memory, are there one after the other. `tests` is how many there
    are; `slots` is how many run at once at most.
    """

    def __init__(
        self, function: Function, timeout: float | None, surroundings: Surroundings, *, tests: int, slots: int
    ) -> None:
        self.function = function if timeout is None else replace(function, timeout=timeout or None)
        self._handler = create_handlers([self.function], surroundings, slots=min(slots, tests))[function.name]
        self._left = tests
        self._is_open = False
        self._lock = threading.Lock()

    @contextmanager
    def handler(self) -> Iterator[Handler]:
        """The handler for one test, ready to run it."""
        with self._lock:
            if not self._is_open:
                self._handler.open()
                self._is_open = True
        try:
            yield self._handler
        finally:
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self.close()

    def close(self) -> None:
        """End the function's processes, after the last test or before its time; safe to call again."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if was_open:
            self._handler.close()
