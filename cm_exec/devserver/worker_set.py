"""The worker that is at work, and its predecessors that finish their jobs."""

from collections.abc import Callable
from typing import Final

from cm_exec.config import Config
from cm_exec.devserver.log_line import LogEntry
from cm_exec.devserver.worker_process import WorkerProcess, describe_exit, worker_environment
from cm_exec.local_runtime import LocalRuntime, ProcessState
from cm_exec.protocol import environment as names

_HANDOVER_SECONDS: Final = 1.0
"""Seconds that a successor waits for a worker without jobs to be gone; behind one with jobs it starts beside it."""


class WorkerSet:
    """Starts, replaces and ends workers against one runtime. Not for several threads.

    A worker that still has jobs when it is replaced finishes them beside its successor. That successor does not send
    the restart notification, for which the runtime would drop those jobs.
    """

    def __init__(
        self,
        runtime: LocalRuntime,
        *,
        on_line: Callable[[LogEntry], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self._runtime = runtime
        self._on_line = on_line
        self._on_end = on_end
        self.current: WorkerProcess | None = None
        self._draining: dict[WorkerProcess, frozenset[str]] = {}
        """Those that finish their jobs, and the ids of these."""

    def start(self, config: Config) -> WorkerProcess:
        """Start a worker where none is."""
        variables = self._runtime.environment()
        if self._draining:
            del variables[names.RESTART_NOTIFICATION_URI]
        self.current = WorkerProcess(
            config.path,
            worker_environment(variables, names.CONNECTION_VARIABLES | {names.MAX_CONCURRENT_TASKS}),
            on_line=self._on_line,
            on_end=self._on_end,
        )
        self._report(ProcessState.RUNNING)
        return self.current

    def replace(self, config: Config) -> WorkerProcess:
        """Start a worker in place of the one that is, without losing its jobs."""
        old, self.current = self.current, None
        if old is not None:
            self._report(ProcessState.RESTARTING)
            self._runtime.hold()
            held = self._held()
            old.drain()
            if not old.wait(_HANDOVER_SECONDS):
                self._draining[old] = held
        try:
            return self.start(config)
        finally:
            self._runtime.release()

    def ended(self, worker: WorkerProcess) -> bool:
        """Take note that a worker has ended, so that what it held is lost: whether it was the one at work."""
        reason = f"the worker {describe_exit(worker.exit_code)}"
        if worker in self._draining:
            self._runtime.worker_gone(reason, self._draining.pop(worker))
        if worker is not self.current:
            return False
        self.current = None
        others = frozenset().union(*self._draining.values())
        self._runtime.worker_gone(reason, self._held() - others if self._draining else None)
        self._runtime.report_process(ProcessState.EXITED, exit_code=worker.exit_code, command=COMMAND)
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
        """All that run."""
        return [*self._draining, *([self.current] if self.current else [])]

    def _held(self) -> frozenset[str]:
        return frozenset(job.job_id for job in self._runtime.jobs if job.outstanding)

    def _report(self, state: ProcessState) -> None:
        pid = self.current.pid if self.current else None
        self._runtime.report_process(state, pid=pid, command=COMMAND)


COMMAND: Final = "cm-exec run"
