"""Handlers that keep processes: opened, asked, watched and closed."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cm_exec.handlers.handler import Handler, Surroundings
from cm_exec.handlers.modes import create_handlers
from cm_exec.protocol.job import Job
from tests.support.handling import Ran, function_of, run
from tests.support.processes import children, has_ended, wait_until

SCRIPT: Final = Path(__file__).with_name("loop_handler.py")
LOOP: Final = (sys.executable, "-S", "-E", str(SCRIPT))
"""The command of loop_handler.py, quick to start."""


@contextmanager
def opened(
    folder: Path, shared: Surroundings, *arguments: str, slots: int = 1, command: Any = None, **options: object
) -> Iterator[Handler]:
    """A handler of loop_handler.py with these arguments, persistent unless said, for as long as the context lasts.

    When it is left, none of its processes may be alive.
    """
    function = function_of(folder, command or (*LOOP, *arguments), **{"mode": "persistent", **options})
    handler = create_handlers([function], shared, slots)["f"]
    handler.open()
    try:
        yield handler
    finally:
        handler.close()
    assert not shared.families, "a family of processes is still known"
    assert not loops(), "a process is left"


def ask_raw(handler: Handler, *query: object, job_id: str = "job-1") -> Ran:
    """What comes of one query."""
    return run(handler, job=Job(job_id=job_id, query_type="f", query=json.dumps(query).encode()))


def ask(handler: Handler, *query: object) -> Any:
    """The result of one query, as the value that it is."""
    ran = ask_raw(handler, *query)
    assert ran.result is not None, ran
    return json.loads(ran.result)


def loops() -> set[int]:
    """The pids of the processes of loop_handler.py that are alive."""
    return {p.pid for p in children(os.getpid()) if p.state != "Z" and SCRIPT.name in p.command}


def wait_for_another_than(pid: int) -> None:
    """Wait until a process beside this one, or in its place, is alive."""
    wait_until(lambda: loops() - {pid}, what=f"the replacement of {pid}")


def wait_for_end(pid: int) -> None:
    wait_until(lambda: has_ended(pid), what=f"the end of {pid}")


class Background(threading.Thread):
    """A call on a thread of its own; `outcome` waits for what it returns, and raises what it raises."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where the outcome is asked for
            self._error = error

    def outcome(self, seconds: float = 60) -> Any:
        self.join(seconds)
        assert not self.is_alive(), f"not over after {seconds} s"
        if self._error is not None:
            raise self._error
        return self._value
