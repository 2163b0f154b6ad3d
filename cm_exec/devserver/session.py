"""The worker of `cm-exec dev` from its start to its end, and what happens to it meanwhile."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from cm_exec.config import Config, ConfigError, load_config
from cm_exec.devserver.args import DevOptions
from cm_exec.devserver.log_line import LogEntry
from cm_exec.devserver.watch import Sources, Watcher
from cm_exec.devserver.worker_process import WorkerProcess, describe_exit
from cm_exec.devserver.worker_set import WorkerSet
from cm_exec.local_runtime import LocalRuntime
from cm_exec.terminal import DIM, GREEN, RED, YELLOW, Terminal

_BACKOFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a worker that ended by itself is started again, by how often in a row it did."""
_STABLE_AFTER: Final = 10.0
"""Seconds after which a worker that ends has not failed at its start."""
_KILL_AFTER: Final = 2.0
"""Seconds from the second Ctrl-C to SIGKILL."""

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
class SignalReceived:
    """Ctrl-C, or its like."""

    which: signal.Signals


Event = FilesChanged | WorkerExited | SignalReceived


class DevSession:
    """Keeps a worker of the newest right configuration at work. One thread; what others have to tell are events."""

    def __init__(
        self, options: DevOptions, runtime: LocalRuntime, terminal: Terminal, events: SimpleQueue[Event]
    ) -> None:
        self._options = options
        self._runtime = runtime
        self._terminal = terminal
        self._events = events
        self._workers = WorkerSet(runtime, on_line=self._log, on_end=lambda worker: events.put(WorkerExited(worker)))
        self._failures = 0
        self._start_at: float | None = None
        """When a worker that ended is started again."""

    def wait_for_signal(self) -> None:
        """Return when the program is asked to end."""
        while not isinstance(self._events.get(), SignalReceived):
            pass
        self._terminal.line("dev", "stopping")

    def work(self, config: Config) -> None:
        """Run a worker until the program is asked to end, and let it drain then."""
        self._config = config
        self._runtime.declare_functions(_descriptions(config))
        self._workers.start(config)
        watcher = self._watch()
        try:
            while (event := self._next_event()) is None or not isinstance(event, SignalReceived):
                self._handle(event)
            self._drain()
        finally:
            if watcher is not None:
                watcher.stop()
            for worker in self._workers.all():
                worker.kill()

    def _watch(self) -> Watcher | None:
        if not self._options.reloads:
            return None
        self._watcher = Watcher(
            Sources(self._config, self._options.watched),
            on_save=lambda paths: self._events.put(FilesChanged(paths)),
            on_trouble=lambda why: self._terminal.line("dev", f"changes of files are not seen: {why}", YELLOW),
        )
        self._watcher.start()
        return self._watcher

    def _next_event(self) -> Event | None:
        """The next event; None when a worker is due to be started."""
        timeout = None if self._start_at is None else max(0.0, self._start_at - time.monotonic())
        try:
            return self._events.get(timeout=timeout)
        except Empty:
            return None

    def _handle(self, event: Event | None) -> None:
        match event:
            case FilesChanged(paths):
                self._saved(paths)
            case WorkerExited(worker):
                self._ended(worker)
            case _:
                self._start_again()

    # Files

    def _saved(self, paths: list[Path]) -> None:
        try:
            config = load_config(self._options.config_path)
        except ConfigError as error:
            self._runtime.report_configuration(str(error))
            kept = "; the worker goes on as it was" if self._workers.current else ""
            self._terminal.line(self._options.config_path.name, f"is wrong{kept}\n{error}", RED)
            return
        self._runtime.report_configuration(None)
        self._config = config
        self._watcher.set_sources(Sources(config, self._options.watched))
        self._runtime.declare_functions(_descriptions(config))
        self._failures, self._start_at = 0, None
        worker = self._workers.replace(config)
        self._terminal.line("dev", f"{_named(paths)} changed: the worker is new (process {worker.pid})", GREEN)

    # Workers

    def _ended(self, worker: WorkerProcess) -> None:
        if not self._workers.ended(worker):
            if worker.exit_code not in {0, -signal.SIGTERM}:  # by the signal itself, before it was ready for it
                self._terminal.line("dev", f"the old worker {describe_exit(worker.exit_code)}", RED)
            return
        self._failures = 0 if worker.age > _STABLE_AFTER else self._failures
        pause = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        self._start_at = time.monotonic() + pause
        text = f"the worker {describe_exit(worker.exit_code)}; it is started again in {pause:g} s"
        self._terminal.line("dev", text, RED)

    def _start_again(self) -> None:
        self._start_at = None
        if self._workers.current is None:
            self._workers.start(self._config)

    def _drain(self) -> None:
        """Let the workers finish, at a second signal end at once."""
        self._workers.drain()
        self._terminal.line("dev", "stopping; Ctrl-C again ends the jobs at once", DIM)
        kill_at: float | None = None
        while self._workers.all():
            try:
                event = self._events.get(timeout=None if kill_at is None else max(0.0, kill_at - time.monotonic()))
            except Empty:
                return
            if isinstance(event, WorkerExited):
                self._workers.ended(event.worker)
            elif isinstance(event, SignalReceived):
                self._workers.end()
                kill_at = kill_at or time.monotonic() + _KILL_AFTER

    def _log(self, entry: LogEntry) -> None:
        """Take a line of a worker; on its thread."""
        if entry.from_handler:
            text = entry.text if entry.job_id or not entry.function else f"[{entry.function}] {entry.text}"
            self._runtime.record_log(entry.job_id, text, "stderr")
            self._terminal.line(entry.function or "handler", f"| {entry.text}")
            return
        if entry.job_id:
            return  # how a job ended is known better than by the worker's line on it
        self._runtime.record_log(entry.job_id, entry.text, "log")
        self._terminal.line("cm-exec", entry.text, _COLOURS.get(entry.level, ""))


def _descriptions(config: Config) -> dict[str, str | None]:
    return {function.name: function.description for function in config.functions.values()}


def _named(paths: list[Path]) -> str:
    names = sorted({path.name for path in paths})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
