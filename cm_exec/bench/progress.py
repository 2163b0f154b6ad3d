"""A progress bar on the terminal, and whether the user has had enough."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

import click

from cm_exec.bench.failure import Interrupted
from cm_exec.bench.plan import Step
from cm_exec.cli.words import count_text

_PARTS: Final = 1000
"""Of one step."""
_EVERY: Final = 0.1
"""Seconds between drawings."""


class Progress:
    """Draws how far the run is, where stderr is a terminal; `step_seconds` is what a step takes, roughly."""

    def __init__(self, steps: int, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._bar: Any = click.progressbar(
            length=steps * _PARTS,
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
            show_percent=False,
            item_show_func=str,
            bar_template="%(bar)s  %(info)s",
            fill_char="█",
            empty_char="░",
        )
        self._began = 0.0
        self._drawn = 0.0
        self._shown = 0
        self._label = ""

    def begin(self, step: Step) -> None:
        """A step begins."""
        self._began = time.monotonic()
        self._shown = 0
        self._label = f"{step.function.name}, {step.mode}, {count_text(step.slots, 'slot')}"
        self._draw(0)

    def tick(self) -> None:
        """Time passes."""
        now = time.monotonic()
        if now - self._drawn >= _EVERY:
            share = min(0.99, (now - self._began) / self._step_seconds)
            self._draw(int(share * _PARTS))

    def end(self) -> None:
        """The step is over."""
        self._draw(_PARTS)

    def _draw(self, shown: int) -> None:
        self._drawn = time.monotonic()
        self._bar.update(shown - self._shown, self._label)
        self._shown = shown

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)


class Interruptions:
    """Takes note of SIGINT, SIGTERM and SIGHUP inside `heard`."""

    def __init__(self) -> None:
        self.which: int = 0
        """The signal that came; 0 for none."""

    def check(self) -> None:
        """Raise Interrupted when one came."""
        if self.which:
            raise Interrupted

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear them; what was in their place comes back at the end."""
        before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.which = number
