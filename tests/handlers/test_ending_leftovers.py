"""SIGTERM, a grace, SIGKILL: for orphans that show themselves late, do not end, or are replaced."""

import logging
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cm_exec.handlers.leftovers import Leftovers
from cm_exec.handlers.orphans import Family, Orphan

from cm_exec.handlers import leftovers as leftovers_module

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 300; done"


class Found(Family):
    """A family whose orphans a test says, a list of processes for each look; the last list counts from then on."""

    def __init__(self, *looks: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(2**22, b"NONE=", set())
        self._looks = list(looks)
        self.asked: list[int] = []

    def orphans(self) -> list[Orphan]:
        processes = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return [orphan for process in processes if (orphan := _alive(process)) is not None]

    def signal_group(self, number: int) -> None:
        self.asked.append(number)


def _alive(process: subprocess.Popen[bytes]) -> Orphan | None:
    orphan = Orphan(process.pid)
    if process.poll() is None and orphan.is_alive():
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


def end(family: Family) -> None:
    leftovers = Leftovers(family)
    leftovers.terminate()
    leftovers.finish()


def test_nothing_left_is_nothing_to_do() -> None:
    family = Found([])
    end(family)
    assert family.asked == []
    assert not family._register


def test_what_is_left_is_asked_to_end_and_waited_for() -> None:
    with sleeping() as process:
        end(Found([process]))
        assert process.wait(30) == -signal.SIGTERM


def test_what_does_not_want_to_end_is_killed_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers_module, "GRACE", 0.1)
    with sleeping(STUBBORN) as process:
        end(Found([process]))
        assert process.wait(30) == -signal.SIGKILL


def test_what_shows_itself_only_at_the_second_look_is_asked_and_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers_module, "GRACE", 0.1)
    with sleeping() as willing, sleeping(STUBBORN) as stubborn:
        end(Found([], [willing, stubborn]))
        assert (willing.wait(5), stubborn.wait(5)) == (-signal.SIGTERM, -signal.SIGKILL)


def test_what_takes_the_place_of_another_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers_module, "GRACE", 0.1)
    with sleeping() as first, sleeping(STUBBORN) as second, sleeping() as third:
        end(Found([first], [second], [third]))
        assert first.wait(30) == -signal.SIGTERM
        assert second.wait(30) == -signal.SIGKILL
        assert third.wait(30) < 0


def test_what_the_kernel_does_not_let_go_of_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leftovers_module, "GRACE", 0.1)
    monkeypatch.setattr(leftovers_module, "GIVE_UP", 0.3)
    monkeypatch.setattr(Orphan, "send", lambda *_: None)  # as for a process that waits for a dead disk
    caplog.set_level(logging.ERROR, logger="cm_exec")
    with sleeping() as process:
        family = Found([process])
        end(family)
        assert process.poll() is None
        assert f"processes [{process.pid}] do not end and are given up" in caplog.text
        assert not family._register
