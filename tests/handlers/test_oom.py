"""Handlers are first in line for the kernel's out-of-memory killer, the launcher is not."""

import os
import subprocess
import sys
from collections.abc import Callable, Coroutine

import pytest

from cm_exec.processes.launcher import prefer_for_oom
from tests.support.handlers import JobRun
from tests.support.processes import oom_score_adj

RunCommand = Callable[..., Coroutine[None, None, JobRun]]


async def test_score_of_a_handler(
    run_command: RunCommand,
) -> None:
    """A handler and its children have a higher score, and the launcher keeps its own."""
    prefer_for_oom()
    before = oom_score_adj(os.getpid())
    shown = (await run_command("cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj; true'")).result
    assert shown == b"%d\n" % min(1000, before + 500) * 2
    assert oom_score_adj(os.getpid()) == before


async def test_score_after_a_failed_start(run_command: RunCommand) -> None:
    """A failed start leaves the score unchanged."""
    prefer_for_oom()
    before = oom_score_adj(os.getpid())
    assert (await run_command(("no-such-program",))).reason == "not_started"
    assert oom_score_adj(os.getpid()) == before


_SHOW_SCORES = """
import os, subprocess, sys
from pathlib import Path
score = Path("/proc/self/oom_score_adj")
score.write_text(sys.argv[1])
from cm_exec.processes.launcher import attributes_of_child, new_tag, prefer_for_oom
prefer_for_oom()
show = ["cat", "/proc/self/oom_score_adj"]
with attributes_of_child(new_tag()):
    inside = subprocess.run(show, capture_output=True, text=True).stdout
print(inside.strip(), score.read_text().strip())
"""


@pytest.mark.parametrize(("own", "raised"), [(0, 500), (499, 999), (500, 1000), (936, 1000), (1000, 1000)])
def test_score_during_the_start(own: int, raised: int) -> None:
    """The score is raised for the start, and restored."""
    if own < oom_score_adj(os.getpid()) and os.geteuid():
        pytest.skip(f"the score of the tests is above {own} and only root may lower it")
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_SCORES, str(own)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(raised), str(own)]
