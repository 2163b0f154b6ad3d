"""SIGTERM, a grace period, SIGKILL: for orphans that appear late, do not end, or are replaced."""

import asyncio
import logging
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cm_exec.processes.child import Child, Command
from cm_exec.processes.termination import Graces, Orphan, OrphanTerminator, ProcessTree, terminate_all

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 300; done"
QUICK = Graces(terminate=0.1)


class Found(ProcessTree):
    """A tree whose orphans a test says, a list of processes for each scan; the last list counts from then on."""

    def __init__(self, *scans: list[subprocess.Popen[bytes]]) -> None:
        self.registered: set[ProcessTree] = set()
        super().__init__(2**22, 0, self.registered)
        self._scans = list(scans)
        self.signals: list[int] = []

    def orphans(self) -> list[Orphan]:
        processes = self._scans.pop(0) if len(self._scans) > 1 else self._scans[0]
        return [orphan for process in processes if (orphan := _running(process)) is not None]

    def signal_group(self, number: int) -> None:
        self.signals.append(number)


class Unkillable(Orphan):
    """An orphan that waits for a dead disk: no signal is of any use."""

    def send(self, number: signal.Signals) -> None:
        """Send nothing."""


class FoundUnkillable(Found):
    def orphans(self) -> list[Orphan]:
        return [Unkillable(orphan.pid) for orphan in super().orphans()]


def _running(process: subprocess.Popen[bytes]) -> Orphan | None:
    orphan = Orphan(process.pid)
    if process.poll() is None and orphan.is_running():
        return orphan
    orphan.close()
    return None


@contextmanager
def sleeping(script: str = "echo ready; exec sleep 300") -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


async def end(found: Found, graces: Graces = QUICK) -> None:
    terminator = OrphanTerminator(found, graces)
    terminator.begin()
    await terminator.finish()
    assert not found.registered


async def test_without_orphans_there_is_nothing_to_do() -> None:
    found = Found([])
    assert not OrphanTerminator(found, Graces()).begin()
    assert found.signals == []
    assert not found.registered


async def test_orphans_are_terminated_and_waited_for() -> None:
    with sleeping() as process:
        await end(Found([process]), Graces(terminate=60))
        assert process.wait(30) == -signal.SIGTERM


async def test_stubborn_orphan() -> None:
    """An orphan that ignores SIGTERM is killed after the grace period."""
    with sleeping(STUBBORN) as process:
        await end(Found([process]))
        assert process.wait(30) == -signal.SIGKILL


async def test_orphan_of_the_second_scan() -> None:
    """An orphan that only the second scan finds is ended."""
    with sleeping() as willing, sleeping(STUBBORN) as stubborn:
        await end(Found([], [willing, stubborn]))
        assert (willing.wait(5), stubborn.wait(5)) == (-signal.SIGTERM, -signal.SIGKILL)


async def test_successor_of_an_orphan() -> None:
    """An orphan that replaces another one is ended."""
    with sleeping() as first, sleeping(STUBBORN) as second, sleeping() as third:
        await end(Found([first], [second], [third]))
        assert first.wait(30) == -signal.SIGTERM
        assert second.wait(30) == -signal.SIGKILL
        assert third.wait(30) < 0


class Succeeding(ProcessTree):
    """A tree of one process, whose successor is there as soon as it has handled SIGTERM."""

    def __init__(self) -> None:
        super().__init__(2**22, 0, set())
        self.ends: list[int] = []
        self._process = self._start()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "300"])

    def orphans(self) -> list[Orphan]:
        if self.ends and self.ends[-1] == -signal.SIGKILL:
            return []
        return [SucceededOrphan(self._process.pid, self)]

    def signalled(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self.ends.append(self._process.wait(30))
        if number != signal.SIGKILL:
            self._process = self._start()


class SucceededOrphan(Orphan):
    def __init__(self, pid: int, tree: Succeeding) -> None:
        super().__init__(pid)
        self._tree = tree

    def send(self, number: signal.Signals) -> None:
        self._tree.signalled(number)


async def test_endless_successors(caplog: pytest.LogCaptureFixture) -> None:
    """An orphan that starts its successor at each SIGTERM is found between two of them, and killed."""
    tree = Succeeding()
    terminator = OrphanTerminator(tree, Graces(terminate=0.1))
    terminator.begin()
    await terminator.finish()
    assert tree.ends[0] == -signal.SIGTERM
    assert tree.ends[-1] == -signal.SIGKILL
    assert not caplog.messages


async def test_end_of_the_worker() -> None:
    """An orphan whose grace period the end of the worker cuts short is killed."""
    with sleeping(STUBBORN) as process:
        found = Found([process])
        terminator = OrphanTerminator(found, Graces(terminate=60))
        terminator.begin()
        ending = asyncio.ensure_future(terminator.finish())
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait((ending,))
        assert process.wait(30) == -signal.SIGKILL
        assert not found.registered


async def test_orphan_that_survives_sigkill(caplog: pytest.LogCaptureFixture) -> None:
    """An orphan that the kernel does not end is abandoned."""
    caplog.set_level(logging.ERROR, logger="cm_exec")
    with sleeping() as process:
        await end(FoundUnkillable([process]), Graces(terminate=0.1, kill=0.2))
        assert process.poll() is None
        assert f"cannot end processes [{process.pid}]; giving up on them" in caplog.text


async def test_children(tmp_path: Path) -> None:
    """Children are ended at once, and their descriptors closed."""
    registry: set[ProcessTree] = set()
    scripts = ["exec cat", STUBBORN, "exit 3", "exec sleep 300"]
    children = [Child(Command(argv=("sh", "-c", s), env={}, cwd=tmp_path), registry) for s in scripts]
    await terminate_all(children, QUICK)
    assert [child.exit_status() is not None for child in children] == [True] * 4
    assert {child.stdin for child in children} | {child.result for child in children} == {-1}
    assert not registry
