"""The life of a process that serves one job, as a pure state machine: events in, actions out, no I/O and no clock.

Theory of operation. The process runs until it exits, or until something ends it: its timeout, too much output, the
end of the worker. Then SIGTERM, a grace period and SIGKILL follow. After its exit the pipes are read to their end.
Another process may hold a pipe open (`exec > >(tee log)`): what it writes belongs to the result, so the pipe is read
until it has been silent for a grace period. The caller keeps one deadline; `Action.ARM` asks it to set the deadline
for the state that was entered.
"""

from enum import Enum, auto
from typing import Final

from cm_exec.protocol.failure import Reason


class Phase(Enum):
    """Where the process is in its life."""

    RUNNING = auto()
    """Until the job's timeout."""
    TERMINATING = auto()
    """SIGTERM was sent; the grace period runs."""
    KILLING = auto()
    """SIGKILL was sent; the kernel should end the process soon."""
    READING = auto()
    """The process has exited, and another process holds a pipe open."""
    OVER = auto()


class ProcessEvent(Enum):
    """What happens to the process."""

    EXITED = auto()
    CLOSED = auto()
    """Both pipes are at their end."""
    OUTPUT = auto()
    DEADLINE = auto()
    ENDED = auto()
    """Something other than the deadline ends the job."""


class Action(Enum):
    """What the caller does."""

    TERMINATE = auto()
    KILL = auto()
    ARM = auto()
    """Set the deadline for the new state, or again for the same."""
    CUT = auto()
    """Log that a pipe was not read to its end."""


_S, _E, _A = Phase, ProcessEvent, Action

TRANSITIONS: Final[dict[tuple[Phase, ProcessEvent], tuple[Phase, tuple[Action, ...]]]] = {
    (_S.RUNNING, _E.EXITED): (_S.READING, (_A.ARM,)),
    (_S.RUNNING, _E.DEADLINE): (_S.TERMINATING, (_A.TERMINATE, _A.ARM)),
    (_S.RUNNING, _E.ENDED): (_S.TERMINATING, (_A.TERMINATE, _A.ARM)),
    (_S.TERMINATING, _E.EXITED): (_S.READING, (_A.ARM,)),
    (_S.TERMINATING, _E.DEADLINE): (_S.KILLING, (_A.KILL, _A.ARM)),
    (_S.KILLING, _E.EXITED): (_S.READING, (_A.ARM,)),
    (_S.KILLING, _E.DEADLINE): (_S.OVER, ()),
    (_S.READING, _E.OUTPUT): (_S.READING, (_A.ARM,)),
    (_S.READING, _E.CLOSED): (_S.OVER, ()),
    (_S.READING, _E.DEADLINE): (_S.OVER, (_A.CUT,)),
    (_S.READING, _E.ENDED): (_S.OVER, ()),
}
"""Every other event leaves the state as it is."""


class JobState:
    """One process from its start to the end of its output.

    `status` is its exit status, None while it runs or if the kernel does not end it. `reason` says why the launcher
    ended it, None if it ended by itself; `detail` is added to the message.
    """

    def __init__(self) -> None:
        self.phase = Phase.RUNNING
        self.status: int | None = None
        self.reason: Reason | None = None
        self.detail = ""
        self._open_pipes = 2

    @property
    def is_over(self) -> bool:
        """Whether the job has its outcome."""
        return self.phase is Phase.OVER

    def exited(self, status: int) -> tuple[Action, ...]:
        """Handle the exit of the process."""
        self.status = status
        actions = self._on(ProcessEvent.EXITED)
        return actions if self._open_pipes else self._on(ProcessEvent.CLOSED)

    def pipe_closed(self) -> tuple[Action, ...]:
        """One of the two output pipes is at its end."""
        self._open_pipes -= 1
        return () if self._open_pipes else self._on(ProcessEvent.CLOSED)

    def output(self) -> tuple[Action, ...]:
        """Something came on a pipe."""
        return self._on(ProcessEvent.OUTPUT)

    def deadline(self) -> tuple[Action, ...]:
        """Handle the end of the time for the current state."""
        if self.phase is Phase.RUNNING:
            self.reason = Reason.TIMEOUT
        return self._on(ProcessEvent.DEADLINE)

    def end(self, reason: Reason, detail: str = "") -> tuple[Action, ...]:
        """End the job for this reason, unless it has ended already."""
        if self.phase in {Phase.RUNNING, Phase.READING} and self.reason is None:
            self.reason, self.detail = reason, detail
            return self._on(ProcessEvent.ENDED)
        return ()

    def _on(self, event: ProcessEvent) -> tuple[Action, ...]:
        self.phase, actions = TRANSITIONS.get((self.phase, event), (self.phase, ()))
        return actions
