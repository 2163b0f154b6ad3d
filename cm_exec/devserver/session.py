"""A session of `cm-exec dev`: what happens to its worker from the start to the end."""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from cm_exec.config import Config
from cm_exec.config.load import load_config
from cm_exec.devserver import DevArgs
from cm_exec.devserver.watch import Sources, Watcher
from cm_exec.devserver.worker_process import LogEntry, WorkerProcess, WorkerSource, describe_exit
from cm_exec.devserver.workers import WorkerSet
from cm_exec.errors import ConfigError, UsageError
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.functions import FunctionInfo
from cm_exec.local_runtime.core.worker_status import ProcessState
from cm_exec.preflight import command_problem
from cm_exec.processes.signals import SIGNAL_STEP
from cm_exec.terminal import DIM, GREEN, RED, YELLOW, Terminal

_BACKOFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a worker that ended by itself is started again, by how often in a row it did."""
_STABLE_AFTER: Final = 10.0
"""Seconds after which a worker that ends has not failed at its start."""
_KILL_AFTER: Final = 2.0
"""Seconds from the second Ctrl-C to SIGKILL."""
_DRAIN_FOREIGN: Final = 10.0
"""Seconds that a worker that is not cm-exec has to end after SIGTERM."""
_LINES_A_SECOND: Final = 200
"""Lines of workers that the terminal shows in a second: writing a flood there would make the log late."""

_COLOURS: Final = {"WARN": YELLOW, "ERROR": RED, "DEBUG": DIM}


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Files were saved."""

    paths: list[Path]


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker has ended."""

    worker: WorkerProcess


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Somebody wants a new worker."""


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """Ctrl-C, or its like."""

    which: signal.Signals


Event = FilesChanged | WorkerExited | RestartRequested | SignalReceived


class DevSession:
    """Keeps a worker of the newest valid configuration running. One thread; other threads send events."""

    def __init__(
        self,
        args: DevArgs,
        runtime: LocalRuntime,
        terminal: Terminal,
        events: SimpleQueue[Event],
        delays: dict[str, str],
    ) -> None:
        """`delays` is filled with what keeps the result of a job back, by its id."""
        self._delays = delays
        self._args = args
        self._runtime = runtime
        self._terminal = terminal
        self._events = events
        self._workers = WorkerSet(
            runtime,
            args=args,
            on_line=self._log,
            on_end=lambda worker: events.put(WorkerExited(worker)),
        )
        self._watcher: Watcher | None = None
        self._failures = 0
        self._start_at: float | None = None
        """When a worker that ended is started again."""
        self._shown_in: tuple[int, int] = (0, 0)
        """A second, and how many lines of workers were shown in it."""

    def wait_for_signal(self) -> None:
        """Return when the program is asked to end."""
        while not isinstance(self._next_event(), SignalReceived):
            pass
        self._terminal.line("dev", "stopping")

    def work(self, source: WorkerSource) -> None:
        """Run a worker until the program is asked to end, and let it drain then."""
        self._source = source
        self._declare()
        self._workers.start(source)
        if self._args.reloads:
            self._watcher = self._watch()
        try:
            while (event := self._next_event(self._start_at)) is None or not isinstance(event, SignalReceived):
                self._handle(event)
            self._drain()
        finally:
            if self._watcher is not None:
                self._watcher.stop()
            for worker in self._workers.all():
                worker.kill()
                worker.wait(_KILL_AFTER)

    def _declare(self) -> None:
        if isinstance(self._source, Config):
            self._runtime.declare_functions(
                {
                    each.name: FunctionInfo(
                        description=each.description,
                        timeout=float("inf") if each.timeout is None else each.timeout,
                        service=each.service.name if each.service and each.service.name != each.name else None,
                    )
                    for each in self._source.functions.values()
                }
            )
            problems = map(command_problem, self._source.functions.values())
            for problem in dict.fromkeys(filter(None, problems)):  # such as a program that is not built yet
                self._runtime.record_log(None, problem, "dev")
                self._terminal.line(self._args.config_path.name, problem, YELLOW)

    def _watch(self) -> Watcher:
        watcher = Watcher(
            Sources(self._source, self._args.watched),
            on_save=lambda paths: self._events.put(FilesChanged(paths)),
            on_trouble=lambda why: self._terminal.line("dev", f"changes of files are not noticed: {why}", YELLOW),
        )
        watcher.start()
        return watcher

    def _next_event(self, until: float | None = None) -> Event | None:
        """Return the next event; None at the time `until`, when a worker is due to be started or killed."""
        while (left := SIGNAL_STEP if until is None else until - time.monotonic()) > 0:
            with suppress(Empty):
                return self._events.get(timeout=min(SIGNAL_STEP, left))
        return None

    def _handle(self, event: Event | None) -> None:
        match event:
            case FilesChanged(paths):
                names = sorted({path.name for path in paths})
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - a line's worth
                self._restart(f"{', '.join(names[:3])}{more} changed")
            case RestartRequested():
                self._restart("restart requested")
            case WorkerExited(worker):
                self._exited(worker)
            case _:
                self._start_again()

    def _restart(self, why: str) -> None:
        if isinstance(self._source, Config):
            try:
                self._source = load_config(self._args.config_path)
            except ConfigError as error:
                self._runtime.report_configuration(str(error))
                kept = "; keeping the running worker" if self._workers.current else ""
                self._terminal.line(self._args.config_path.name, f"invalid{kept}\n{error}", RED)
                return
            self._runtime.report_configuration(None)
            self._declare()
        if self._watcher is not None:
            self._watcher.set_sources(Sources(self._source, self._args.watched))
        self._failures, self._start_at = 0, None
        worker = self._start(replacing=True)
        if worker is not None:
            self._terminal.line("dev", f"{why}; worker restarted (pid {worker.pid})", GREEN)

    def _exited(self, worker: WorkerProcess) -> None:
        if not self._workers.ended(worker):
            if worker.exit_code not in {0, -signal.SIGTERM}:  # by the signal itself, before it was ready for it
                self._terminal.line("dev", f"the old worker {describe_exit(worker.exit_code)}", RED)
            return
        self._failures = 0 if worker.age > _STABLE_AFTER else self._failures
        self._start_later(f"the worker {describe_exit(worker.exit_code)}")

    def _start_later(self, why: str) -> None:
        pause = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        self._start_at = time.monotonic() + pause
        text = f"{why}, starts again in {pause:g} s"
        self._runtime.record_log(None, text, "dev")
        self._terminal.line("dev", text, RED)

    def _start_again(self) -> None:
        self._start_at = None
        if self._workers.current is None:
            self._start(replacing=False)

    def _start(self, *, replacing: bool) -> WorkerProcess | None:
        """Start a worker. A command that has gone meanwhile, such as a program that is being built, is tried again."""
        try:
            return self._workers.replace(self._source) if replacing else self._workers.start(self._source)
        except UsageError as error:
            self._runtime.report_process(ProcessState.EXITED, command=str(error))
            self._start_later(str(error))
            return None

    def _drain(self) -> None:
        """Let the workers finish, at a second signal end at once."""
        self._workers.drain()
        self._terminal.line("dev", "stopping; Ctrl-C again ends the jobs at once", DIM)
        kill_at = None if isinstance(self._source, Config) else time.monotonic() + _DRAIN_FOREIGN
        while self._workers.all():
            event = self._next_event(kill_at)
            if event is None:
                return
            if isinstance(event, WorkerExited):
                self._workers.ended(event.worker)
            elif isinstance(event, SignalReceived):
                self._workers.end()
                kill_at = min(kill_at or float("inf"), time.monotonic() + _KILL_AFTER)

    def _log(self, entry: LogEntry) -> None:
        """Take a line of a worker; on its thread."""
        if entry.from_handler:
            text = entry.text if entry.job_id or not entry.function else f"[{entry.function}] {entry.text}"
            self._runtime.record_log(entry.job_id, text, "stderr")
            self._show(entry.function or "handler", f"| {entry.text}", "")
            return
        if entry.job_id and entry.level == "DEBUG":
            self._delays[entry.job_id] = entry.text.partition(": ")[2]
            self._runtime.record_log(entry.job_id, entry.text, "log")
            self._show(entry.function or "handler", entry.text, YELLOW)
            return
        if entry.job_id:
            return  # how a job ended is known better than by the worker's line on it
        about_state = entry.function is None or entry.service_state is not None
        self._runtime.record_log(None, entry.text if about_state else f"[{entry.function}] {entry.text}", "log")
        if entry.routine:
            return  # how the worker does is shown in a line of our own
        name = "cm-exec" if isinstance(self._source, Config) else "worker"
        self._show(entry.function or name, entry.text, _COLOURS.get(entry.level, ""))

    def _show(self, name: str, text: str, colour: str) -> None:
        second, shown = self._shown_in
        now = int(time.monotonic())
        if second != now:
            if shown > _LINES_A_SECOND:
                self._terminal.line("dev", f"{shown - _LINES_A_SECOND} more lines; the console has the last ones", DIM)
            second, shown = now, 0
        if shown < _LINES_A_SECOND:
            self._terminal.line(name, text, colour)
        self._shown_in = (second, shown + 1)
