"""The state of a service: the starts of its processes, what became of them, and the log of its changes."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from cm_exec.config import Service
from cm_exec.protocol.failure import Failure

if TYPE_CHECKING:
    from cm_exec.processes.stdin_probe import StdinProbe  # which most modules do not need

log: Final = logging.getLogger("cm_exec.handler")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
"""Seconds between starts, doubled each time, while every process ends before it has had a job."""

_ENOUGH_AT_FIRST: Final = 3
_ENOUGH_LATER: Final = 5
"""Starts that fail in a row until jobs are answered with an error instead of kept waiting.

A service that was ready before gets three seconds: what it needs may be free again soon.
"""


class StartHistory:
    """What has become of the last starts. It has no clock: times are passed in, in seconds.

    `pause` comes before the next start. `has_failed`: the last start failed. `refusal` is what jobs are answered with
    while it makes no sense to wait.
    """

    def __init__(self, start_timeout: float) -> None:
        self._start_timeout = start_timeout or float("inf")
        self._enough = _ENOUGH_AT_FIRST
        self._first_began = self._last_ended = 0.0
        self.pause = _FIRST_PAUSE
        self.failed_starts = 0
        self.has_failed = False
        self.refusal: Failure | None = None

    def became_ready(self) -> None:
        """Note that a start has succeeded."""
        self._enough = _ENOUGH_LATER
        self.failed_starts = 0
        self.has_failed = False
        self.refusal = None

    def reset(self) -> None:
        """Note that a process has served jobs: the one that takes its place gets as much time as the first."""
        self.became_ready()
        self.pause = _FIRST_PAUSE

    def ended(self, failure: Failure | None, *, began: float, now: float) -> None:
        """Note the end of a process that was started at `began` and had no job; `failure` if it never was ready."""
        is_next = began >= self._last_ended  # processes that were started together count as one start
        if is_next:
            self._last_ended = now
            self.pause = min(_LONGEST_PAUSE, self.pause * 2)
        if failure is None:
            return
        self.has_failed = True
        if not self.failed_starts:
            self._first_began = began
        self.failed_starts += is_next or not self.failed_starts
        if self.failed_starts >= self._enough or now - self._first_began >= self._start_timeout:
            self.refusal = failure

    def cannot_start(self, now: float) -> None:
        """Note that the command could not be started. No job waits for the next start: each tries one of its own."""
        self.ended(None, began=now, now=now)
        self.has_failed = True


ServiceState = Literal["starting", "ready", "failed", "stopped"]
"""`failed`: the last start failed, and the next one comes after a pause; `stopped`: the next job starts it again."""

_SETTLED: Final = 0.3
"""Seconds that a state lasts before it is logged: a process that is replaced after each job is not worth two lines."""
_PATIENCE: Final = 5.0
"""Seconds that a service may not be ready until the log says what it waits for."""


class ServiceLog:
    """Logs the state of a service when it changes, and what it waits for, once, if it is not ready for long."""

    def __init__(self, service: Service, waits_for: Callable[[], str]) -> None:
        self._service = service
        self._waits_for = waits_for
        self._loop = asyncio.get_running_loop()
        self._state: tuple[ServiceState, int | None] = ("stopped", None)
        self._logged: tuple[ServiceState, int | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._warning: asyncio.TimerHandle | None = None

    def set(self, state: ServiceState, processes: int | None) -> None:
        """Take the state, and how many processes there are, None if something else starts them."""
        if (state, processes) == self._state:
            return
        self._state = (state, processes)
        if state in {"ready", "stopped"}:
            self._cancel_warning()
        elif self._warning is None:
            self._warning = self._loop.call_later(_PATIENCE, self._warn)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(0.0 if self._logged is None else _SETTLED, self._write)

    def close(self) -> None:
        """Log that the service has ended, if it was started."""
        self._cancel_warning()
        if self._timer is not None:
            self._timer.cancel()
        self._state = ("stopped", 0)
        if self._logged is not None:
            self._write()

    def _write(self) -> None:
        self._timer = None
        if self._state == self._logged:
            return
        self._logged = state, processes = self._state
        text = state if processes is None or state == "stopped" else f"{state}, processes: {processes}"
        details = {"service_state": state, "service_kind": self._service.protocol, "processes": processes}
        log.info("service %s: %s", self._service.name, text, extra={"tags": self._tags, "details": details})

    def _warn(self) -> None:
        if self._state[0] == "starting":  # the reason of a failed start was logged
            log.warning(
                "service %s is not ready after %g s: %s; start_timeout is %g s",
                self._service.name,
                _PATIENCE,
                self._waits_for(),
                self._service.start_timeout,
                extra={"tags": self._tags},
            )

    def _cancel_warning(self) -> None:
        if self._warning is not None:
            self._warning.cancel()
            self._warning = None

    @property
    def _tags(self) -> dict[str, str]:
        return {"function": self._service.name}


_FIRST_PROBE: Final = 0.005
_LONGEST_PROBE: Final = 0.25
_COUNT_POLLS_AFTER: Final = 5.0
"""Seconds from the start after which a process in poll or select counts as reading: it may have loaded data before."""


class StartWatch:
    """Watches the start of a process, until it is ready or its start_timeout is over.

    With `ready = "read"` a process is ready when it is seen to read its stdin; where that cannot be seen, at once.
    """

    def __init__(
        self, service: Service, probe: "StdinProbe", on_ready: Callable[[], None], on_timeout: Callable[[], None]
    ) -> None:
        self._probe = probe
        self._on_ready = on_ready
        self._on_timeout = on_timeout
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.is_ready = False
        self._look: asyncio.Handle | None = None
        self._timer = self._loop.call_later(service.start_timeout, self._too_late) if service.start_timeout else None
        if service.ready == "read":
            look = partial(self._look_again, _FIRST_PROBE) if probe.is_usable else self.succeeded
            self._look = self._loop.call_soon(look)

    def succeeded(self) -> None:
        """Note that the process is ready."""
        if not self.is_ready:
            self.cancel()
            self.is_ready = True
            self._on_ready()

    def cancel(self) -> None:
        """Watch no longer."""
        for handle in (self._look, self._timer):
            if handle is not None:
                handle.cancel()
        self._look = self._timer = None

    def _look_again(self, pause: float) -> None:
        probe = self._probe
        if probe.is_waiting() or probe.find_reader(with_polls=self._loop.time() > self._began + _COUNT_POLLS_AFTER):
            self.succeeded()
        else:
            self._look = self._loop.call_later(pause, self._look_again, min(_LONGEST_PROBE, pause * 1.5))

    def _too_late(self) -> None:
        self.cancel()
        self._on_timeout()
