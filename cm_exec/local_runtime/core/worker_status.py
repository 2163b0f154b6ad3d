"""What is known of the worker: whether it polls, where its process stands, and how it violated the protocol."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace


class ViolationKind(StrEnum):
    """Which rule was broken; part of the console's contract."""

    UNANSWERED = "unanswered"
    """A job was taken and no result came: it holds its slot until the replica ends."""
    ANSWERED_TWICE = "answered_twice"
    LATE = "late"
    """A result for a job whose caller had given up, or that a restart had dropped."""
    UNKNOWN_JOB = "unknown_job"
    TRUNCATED = "truncated"
    """A result's body broke off, and what was posted after it has less: data are lost without a word."""
    CONTENT_TYPE = "content_type"
    OUTPUT_TYPE = "output_type"
    """The result is not of the type that the function's schema declares."""
    INVALID_SCHEMA = "invalid_schema"
    POLLS_STOPPED = "polls_stopped"
    UNAUTHORIZED = "unauthorized"
    CONNECTION = "connection"
    """A request that never reached the protocol: TLS, address or method were wrong."""
    TOO_LARGE = "too_large"


class ProtocolViolation(Struct, frozen=True, kw_only=True, rename="camel"):
    """One breach. `at` is in seconds since the epoch; `job_id` and `function` where it is about a job."""

    number: int
    at: float
    kind: ViolationKind
    message: str
    job_id: str | None = None
    function: str | None = None


_RECENT: Final = 2.0
"""Seconds between two polls that say nothing: a worker needs a moment to come again."""


class WorkerState(StrEnum):
    """What the polls show of the worker."""

    ABSENT = "absent"
    READY = "ready"
    BUSY = "busy"
    """No poll is open, and it has jobs: a serial client at work."""
    SILENT = "silent"


@dataclass(slots=True)
class PollWatch:
    """`poll_timeout` is how long, in seconds, no poll may be open before it is a breach."""

    poll_timeout: float = 10.0
    open: int = 0
    total: int = 0
    last: float | None = None
    reported: bool = False
    excused: bool = False
    """Whether silence is no breach: no job would be handed out."""

    def began(self, now: float) -> None:
        """Note the begin of a poll."""
        self.open += 1
        self.total += 1
        self.last = now
        self.reported = False

    def ended(self, now: float) -> None:
        """Note the end of a poll."""
        self.open -= 1
        if self.last is not None:  # else it belongs to a worker that is gone
            self.last = now

    def forget(self) -> None:
        """Expect no polls until the next one: the worker or the runtime was gone."""
        self.last = None
        self.reported = False

    def excuse(self) -> None:
        """Silence is no breach until `expect`."""
        self.excused = True

    def expect(self, now: float) -> None:
        """From now on polls are expected again."""
        self.excused = False
        if self.last is not None:
            self.last = now

    def deadline(self) -> float | None:
        """Return when missing polls become a violation, None while they cannot."""
        if self.open or self.last is None or self.reported or self.excused:
            return None
        return self.last + self.poll_timeout

    def overdue(self, now: float) -> bool:
        """Return whether missing polls have just become a violation; they are reported once."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return False
        self.reported = True
        return True

    def why_idle(self, now: float) -> str | None:
        """Say why no worker takes jobs; None while one polls."""
        if self.total == 0:
            return "no worker has polled yet"
        if self.last is None:
            return "no worker has polled since the last one ended"
        if self.open or now - self.last < _RECENT:
            return None
        return f"no worker has polled for {now - self.last:.1f} s"

    def is_served(self, now: float, outstanding: int) -> bool:
        """Return whether a worker is at work, so that what other connections do is no riddle."""
        polled = self.last is not None and now - self.last < self.poll_timeout
        return bool(self.open or outstanding or polled or self.excused)

    def state(self, now: float, outstanding: int) -> WorkerState:
        """Return what the worker seems to do."""
        if self.open:
            return WorkerState.READY
        if self.last is None:
            return WorkerState.ABSENT
        if now - self.last < _RECENT:
            return WorkerState.READY
        return WorkerState.BUSY if outstanding else WorkerState.SILENT


class ProcessState(StrEnum):
    """The state of the worker's process."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    NONE = "none"
    """None is run: another worker is pointed at the runtime."""


class ServiceStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a cm-exec worker logged of one of its services: starting, ready, failed or stopped, since when.

    `processes` is None where something else starts the server. `last_failure` is the last warning about the service.
    A report without `state` is about that alone.
    """

    name: str
    kind: str = ""
    state: str = ""
    since: float = 0.0
    processes: int | None = None
    last_failure: str | None = None


class ProcessStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """`since` is when it came into this state, in seconds since the epoch."""

    state: ProcessState
    since: float = 0.0
    pid: int | None = None
    command: str | None = None
    exit_code: int | None = None


@dataclass(slots=True)
class WorkerStatus:
    """All that is known of the worker: its polls, and the reports of the program that runs it."""

    polls: PollWatch
    process: ProcessStatus | None = None
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    configuration_error: str | None = None

    def report_process(self, report: ProcessStatus, now: float) -> None:
        """Note where the worker's process stands. A new one is given its time until its first poll."""
        if self.process is None or report.pid is None or report.pid != self.process.pid:
            self.polls.forget()
            self.services = {
                name: replace(service, state="stopped", processes=service.processes and 0, since=now)
                for name, service in self.services.items()
                if report.state is ProcessState.EXITED
            }
        self.process = replace(report, since=now)

    def report_service(self, report: ServiceStatus, now: float) -> None:
        """Note a new state of a service of the worker, or only its last failure."""
        known = self.services.get(report.name)
        if report.state:
            since = known.since if known is not None and known.state == report.state else now
            failure = known.last_failure if known is not None else None
            self.services[report.name] = replace(report, since=since, last_failure=failure)
        elif known is not None:
            self.services[report.name] = replace(known, last_failure=report.last_failure)

    def why_idle(self, now: float) -> str | None:
        """Say why no worker takes jobs; None while one polls. It sends its first poll when its services are ready."""
        why = self.polls.why_idle(now)
        waits_for = [each.name for each in self.services.values() if each.state in {"starting", "failed"}]
        return f"{why}; it waits for its service {', '.join(waits_for)}" if why and waits_for else why
