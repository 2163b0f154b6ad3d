"""Processes that are started ahead and wait for a job, and the thread that looks after them."""

import logging
import os
import select
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct, field

from cm_exec.handlers.ending import end_all
from cm_exec.handlers.exchange import bytes_in
from cm_exec.handlers.process import Child, NotStartedError

log: Final = logging.getLogger("cm_exec.handler")

_SETTLED: Final = 0.05
"""Seconds of idleness after which a process is watched: one that is handed from job to job is not worth it."""

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0
"""Seconds between starts while every process dies before it has had a job."""


class PoolRules(Struct, frozen=True, kw_only=True):
    """What a pool does.

    `size` is how many processes it keeps at most. `silent` says that a waiting process may write no result.
    `replace_idle` says that one which has waited for `idle_timeout` seconds is replaced, not just ended.
    """

    name: str
    size: int
    silent: bool
    replace_idle: bool
    idle_timeout: float | None


class Member(Struct, eq=False):
    """One process of a pool, with the number of jobs that it has had. `redact` removes the last job's secrets."""

    child: Child
    jobs: int = 0
    redact: Callable[[bytes], bytes] = bytes
    idle_since: float = field(default_factory=time.monotonic)
    watched: bool = False
    stderr_closed: bool = False


class Pool:
    """Hands out waiting processes, the last used first, and keeps as many ready as its rules say.

    A process that a job needs is started at once. The others are started by the pool's own thread, which also
    notices when a waiting process dies, speaks unasked, or has waited too long.
    """

    def __init__(self, rules: PoolRules, start: Callable[[], Child]) -> None:
        self._rules = rules
        self._start = start
        self._lock = threading.Lock()
        self._idle: list[Member] = []
        self._count = 0  # idle and at work
        self._wanted = rules.size
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._asleep = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start the first processes, then look after them."""
        self._fill()
        self._thread = threading.Thread(target=self._look_after, name=f"pool-{self._rules.name}", daemon=True)
        self._thread.start()

    def take(self) -> Member:
        """A process that waits for a job, or a new one. Raises NotStartedError."""
        while (member := self._pop()) is not None:
            if self._is_fit(member):
                return member
            self.discard(member)
        member = Member(self._start())
        with self._lock:
            self._count += 1
            self._wanted = max(self._wanted, min(self._count, self._rules.size))
        return member

    def give_back(self, member: Member) -> None:
        """The process waits for its next job."""
        member.jobs += 1
        member.idle_since = time.monotonic()
        with self._lock:
            self._pause = _FIRST_PAUSE
            closed = self._closed
            if not closed:
                self._idle.append(member)
        if closed:
            end_all([member.child])
        self._wake(only_from_sleep=True)

    def used_up(self) -> None:
        """A process has had its job and has ended, or will: another takes its place. Its end is the caller's."""
        with self._lock:
            self._count -= 1
            self._pause = _FIRST_PAUSE
        self._wake()

    def discard(self, member: Member) -> None:
        """End a process that is of no use any more; another takes its place."""
        with self._lock:
            self._count -= 1
            if not member.jobs:
                self._not_before = time.monotonic() + self._pause
                self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        end_all([member.child])
        self._wake()

    def close(self) -> None:
        """End all processes that wait."""
        with self._lock:
            self._closed = True
            members, self._idle = self._idle, []
        self._wake()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1
        end_all([member.child for member in members])

    def _pop(self) -> Member | None:
        with self._lock:
            if not self._idle:
                return None
            member = self._idle.pop()
            self._unwatch(member)
            return member

    def _is_fit(self, member: Member) -> bool:
        if not member.child.events.poll(0):
            return True
        if member.child.exit_status() is not None:
            return self._tell(member, f"ended while it waited, with status {member.child.exit_status()}")
        if self._rules.silent and bytes_in(member.child.result):
            return self._tell(member, "wrote a result that nobody asked for")
        return True

    def _tell(self, member: Member, what: str) -> bool:
        log.warning("process %d %s", member.child.pid, what, extra={"tags": {"function": self._rules.name}})
        return False

    def _look_after(self) -> None:
        while True:
            with self._lock:
                if self._closed:
                    return
                timeout = self._watch_settled()
                self._asleep = timeout is None or timeout > _SETTLED
            events = self._selector.select(timeout)
            self._asleep = False
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            for key, _ in events:
                if isinstance(key.data, Member):
                    self._react(key.data, key.fd)
            self._retire()
            self._fill()

    def _watch_settled(self) -> float | None:
        """Watch the processes that have settled; seconds until there is something else to do, None for nothing."""
        now = time.monotonic()
        due: list[float] = []
        for member in self._idle:
            if not member.watched and now - member.idle_since >= _SETTLED:
                self._watch(member)
            if not member.watched:
                due.append(member.idle_since + _SETTLED)
            if self._rules.idle_timeout is not None:
                due.append(member.idle_since + self._rules.idle_timeout)
        if self._count < self._wanted:
            due.append(self._not_before)
        return max(0.0, min(due) - now) if due else None

    def _watch(self, member: Member) -> None:
        for watched in self._watched_fds(member):
            self._selector.register(watched, selectors.EVENT_READ, member)
        member.watched = True

    def _unwatch(self, member: Member) -> None:
        if member.watched:
            for watched in self._watched_fds(member):
                self._selector.unregister(watched)
            member.watched = False

    def _watched_fds(self, member: Member) -> list[int]:
        child = member.child
        fds = [child.exit_watch.fileno()]
        if self._rules.silent:
            fds.append(child.result)
        return fds if member.stderr_closed else [*fds, child.stderr]

    def _react(self, member: Member, fd: int) -> None:
        """Something happened to a waiting process: what it says goes to the log, anything else is its end."""
        child = member.child
        with self._lock:
            if member not in self._idle or not member.watched or not _is_readable(fd):
                return  # it has had a job since the selector told of it
            if fd == child.stderr:
                self._hear(member)
                return
            child.exit_watch.acknowledge()
            if fd != child.result and child.exit_status() is None:
                return
            self._idle.remove(member)
            self._unwatch(member)
        if self._is_fit(member):
            self._tell(member, "closed its result channel")
        self.discard(member)

    def _hear(self, member: Member) -> None:
        text = os.read(member.child.stderr, 65536)
        if text:
            log.info(member.redact(text), extra={"tags": {"function": self._rules.name}})
        else:
            self._selector.unregister(member.child.stderr)
            member.stderr_closed = True

    def _retire(self) -> None:
        """End what has waited for too long."""
        if self._rules.idle_timeout is None:
            return
        with self._lock:
            too_old = time.monotonic() - self._rules.idle_timeout
            retired = [member for member in self._idle if member.idle_since <= too_old]
            for member in retired:
                self._idle.remove(member)
                self._unwatch(member)
            self._count -= len(retired)
            if not self._rules.replace_idle:
                self._wanted -= len(retired)
        end_all([member.child for member in retired])

    def _fill(self) -> None:
        """Start processes until there are as many as there should be, unless they keep dying."""
        while True:
            with self._lock:
                if self._closed or self._count >= self._wanted or time.monotonic() < self._not_before:
                    return
                self._count += 1
            try:
                member = Member(self._start())
            except NotStartedError as error:
                log.warning("%s: %s", self._rules.name, error)
                with self._lock:
                    self._count -= 1
                    self._not_before = time.monotonic() + self._pause
                    self._pause = min(_LONGEST_PAUSE, self._pause * 2)
                return
            with self._lock:
                if not self._closed:
                    self._idle.insert(0, member)
                    continue
            end_all([member.child])

    def _wake(self, *, only_from_sleep: bool = False) -> None:
        if only_from_sleep and not self._asleep:
            return
        with self._lock, suppress(BlockingIOError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")


def _is_readable(fd: int) -> bool:
    """Whether there is something to read, or the end; not by select(2), which takes no descriptor above 1023."""
    look = select.poll()
    look.register(fd, select.POLLIN)
    return bool(look.poll(0))
