"""Handlers are first in line for the kernel's out-of-memory killer, the launcher is not."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cm_exec.handlers.oom import OomPreference
from tests.support.handling import Ran

from tests.support.processes import oom_score_adj

RunCommand = Callable[..., Ran]


def test_a_handler_and_what_it_starts_have_a_higher_score_and_the_launcher_its_own(run_command: RunCommand) -> None:
    before = oom_score_adj(os.getpid())
    shown = run_command("cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj; true'").result
    assert shown == b"%d\n" % min(1000, before + 500) * 2
    assert oom_score_adj(os.getpid()) == before


def test_a_command_that_cannot_be_started_leaves_the_score_as_it_was(run_command: RunCommand) -> None:
    before = oom_score_adj(os.getpid())
    assert run_command(("no-such-program",)).reason == "not_started"
    assert oom_score_adj(os.getpid()) == before


class Scores:
    """A score file of our own, in place of the kernel's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
        self.path = folder / "oom_score_adj"
        self.path.write_text(content)
        self._open = os.open
        monkeypatch.setattr(os, "open", self.open)

    def open(self, path: str, flags: int) -> int:
        assert path == "/proc/self/oom_score_adj"
        return self._open(self.path, flags)

    @property
    def score(self) -> int:
        return int(self.path.read_text())


@pytest.mark.parametrize(
    ("own", "raised"), [(0, 500), (-999, -499), (499, 999), (500, 1000), (936, 1000), (1000, 1000)]
)
def test_the_score_is_raised_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, raised: int
) -> None:
    scores = Scores(tmp_path, monkeypatch, f"{own}\n")
    written: list[bytes] = []
    monkeypatch.setattr(os, "pwrite", lambda _fd, data, _offset: written.append(data))
    preference = OomPreference()
    assert scores.score == own
    written.clear()
    with preference.raised():
        assert written == [b"%d" % raised]
    assert written == [b"%d" % raised, b"%d" % own]


def test_where_the_score_may_not_be_set_it_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Scores(tmp_path, monkeypatch, "0")

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "pwrite", refused)
    with OomPreference().raised():
        pass


def test_where_there_is_no_score_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "open", missing)
    with OomPreference().raised():
        pass


def test_what_is_no_number_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Scores(tmp_path, monkeypatch, "what?")
    with OomPreference().raised():
        assert scores.path.read_text() == "what?"
