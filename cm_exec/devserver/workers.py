"""The workers of `cm-exec dev`: the current one, and predecessors that finish their jobs."""

from collections.abc import Callable, Sequence
from typing import Final

from cm_exec.config import Config
from cm_exec.devserver import DevArgs
from cm_exec.devserver.worker_process import (
    LogEntry,
    WorkerProcess,
    WorkerSource,
    cm_exec_command,
    describe_exit,
    parse_foreign_line,
    parse_sls_line,
    worker_environment,
)
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.worker_status import ProcessState, ServiceStatus
from cm_exec.protocol import environment as names

_SLS_LOG: Final = ("--log-format", "sls", "--log-level", "debug")
_HANDOVER_SECONDS: Final = 1.0
"""How long a successor waits for a worker without jobs to be gone; behind one with jobs it starts beside it."""
_FOREIGN_GRACE: Final = 5.0
"""Seconds from SIGTERM to SIGKILL for a worker that is not cm-exec: two at a time may not share its own ports."""


class WorkerSet:
    """Starts, replaces and ends workers against one runtime. Not for several threads.

    A cm-exec worker that still has jobs when it is replaced finishes them beside its successor. That successor does
    not send the restart notification, for which the runtime would drop those jobs.
    """

    def __init__(
        self,
        runtime: LocalRuntime,
        *,
        args: DevArgs,
        on_line: Callable[[LogEntry], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self._runtime = runtime
        self._style = args.env_style
        self._options = () if args.concurrency is None else ("--concurrency", str(args.concurrency))
        self._on_line = on_line
        self._on_end = on_end
        self.current: WorkerProcess | None = None
        self._shown_command = ""
        self._starts = 0
        self._draining: dict[WorkerProcess, frozenset[str]] = {}
        """Those that finish their jobs, and the ids of these."""

    def start(self, source: WorkerSource) -> WorkerProcess:
        """Start a worker. Raises UsageError if a command cannot be started."""
        command: Sequence[str]
        if isinstance(source, Config):
            variables = self._runtime.environment()
            if self._draining:
                del variables[names.RESTART_NOTIFICATION_URI]
            self._shown_command = "cm-exec run"
            command, parse = cm_exec_command(source.path, *_SLS_LOG, *self._options), parse_sls_line
        else:
            variables = self._runtime.environment(self._style)
            self._shown_command = " ".join(source)
            command, parse = source, parse_foreign_line
        self._starts += 1
        number = self._starts

        def take(entry: LogEntry) -> None:
            if number == self._starts:  # a predecessor's services end beside it
                self._report_service(entry)
            self._on_line(entry)

        self.current = WorkerProcess(
            command,
            worker_environment(variables),
            on_line=take,
            on_end=self._on_end,
            parse=parse,
            signals_group=parse is parse_foreign_line,
        )
        self._report(ProcessState.RUNNING)
        return self.current

    def replace(self, source: WorkerSource) -> WorkerProcess:
        """Replace the current worker without losing its jobs."""
        old, self.current = self.current, None
        if old is not None:
            self._report(ProcessState.RESTARTING)
            self._runtime.hold()
            held = self._held()
            old.drain()
            if isinstance(source, Config):
                if not old.wait(_HANDOVER_SECONDS):
                    self._draining[old] = held
            elif not old.wait(_FOREIGN_GRACE):
                old.kill()
                old.wait()
            if old not in self._draining and held:
                self._runtime.worker_gone("its worker was replaced", held)
        try:
            return self.start(source)
        finally:
            self._runtime.release()

    def ended(self, worker: WorkerProcess) -> bool:
        """Take note that a worker has ended, and that its jobs are lost. Returns whether it was the current one."""
        reason = f"the worker {describe_exit(worker.exit_code)}"
        if worker in self._draining:
            self._runtime.worker_gone(reason, self._draining.pop(worker))
        if worker is not self.current:
            return False
        self.current = None
        others = frozenset().union(*self._draining.values())
        self._runtime.worker_gone(reason, self._held() - others if self._draining else None)
        self._runtime.report_process(ProcessState.EXITED, exit_code=worker.exit_code, command=self._shown_command)
        return True

    def drain(self) -> None:
        """Let all finish their jobs and end."""
        self._runtime.hold()
        for worker in self.all():
            worker.drain()

    def end(self) -> None:
        """Let all end at once."""
        for worker in self.all():
            worker.end()

    def all(self) -> list[WorkerProcess]:
        """Return all running workers."""
        return [*self._draining, *([self.current] if self.current else [])]

    def _report_service(self, entry: LogEntry) -> None:
        """Pass on what a line says of a service: its state, or a warning that belongs to no job."""
        if entry.function is None or entry.job_id is not None or entry.from_handler:
            return
        if entry.service_state is not None:
            self._runtime.report_service(
                ServiceStatus(
                    name=entry.function,
                    kind=entry.service_kind,
                    state=entry.service_state,
                    processes=entry.processes,
                )
            )
        elif entry.level in {"WARN", "ERROR"}:
            self._runtime.report_service(ServiceStatus(name=entry.function, last_failure=entry.text))

    def _held(self) -> frozenset[str]:
        return frozenset(job.job_id for job in self._runtime.jobs if job.outstanding)

    def _report(self, state: ProcessState) -> None:
        pid = self.current.pid if self.current else None
        self._runtime.report_process(state, pid=pid, command=self._shown_command)
