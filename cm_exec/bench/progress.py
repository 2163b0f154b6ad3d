"""A progress bar on the terminal, and the signals that end a run early."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

import click

from cm_exec.bench.plan import PlanStep
from cm_exec.text import count_text

_UNITS: Final = 1000
"""The length of one step in the bar's units."""

_INTERVAL: Final = 0.1
"""Seconds between drawings."""


class InterruptedRun(Exception):  # noqa: N818 - an order, not an error
    """Raised when a signal asks the program to end."""


class BenchProgress:
    """Draws the progress of a run if stderr is a terminal; `step_seconds` is the rough duration of a step."""

    def __init__(self, steps: int, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._bar: Any = click.progressbar(
            length=steps * _UNITS,
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
            show_percent=False,
            item_show_func=str,
            bar_template="%(bar)s  %(info)s",
            fill_char="█",
            empty_char="░",
        )
        self._began = 0.0
        self._drawn_at = 0.0
        self._drawn = 0
        self._label = ""

    def begin(self, step: PlanStep) -> None:
        """Show that a step begins."""
        self._began = time.monotonic()
        self._drawn = 0
        self._label = f"{step.function.name}, {step.mode}, {count_text(step.slots, 'slot')}"
        self._draw(0)

    def tick(self) -> None:
        """Show that time passes."""
        now = time.monotonic()
        if now - self._drawn_at >= _INTERVAL:
            share = min(0.99, (now - self._began) / self._step_seconds)
            self._draw(int(share * _UNITS))

    def end(self) -> None:
        """Show that the step is complete."""
        self._draw(_UNITS)

    def _draw(self, units: int) -> None:
        self._drawn_at = time.monotonic()
        self._bar.update(units - self._drawn, self._label)
        self._drawn = units

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)


class Interruptions:
    """Notes SIGINT, SIGTERM and SIGHUP inside `installed`."""

    def __init__(self) -> None:
        self.signal: int = 0
        """The signal that came; 0 for none."""

    def check(self) -> None:
        """Raise InterruptedRun if a signal came."""
        if self.signal:
            raise InterruptedRun

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the signal handlers, and restore the previous ones at the end."""

        def note(number: int, _frame: FrameType | None) -> None:
            self.signal = number

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
