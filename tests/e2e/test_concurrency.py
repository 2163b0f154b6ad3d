from dataclasses import dataclass

import pytest

from tests.support.toml import function, table
from tests.support.worker_harness import WorkerHarness

COUNTING = """
mkdir -p run counted
: > "run/$CM_JOB_ID"
ls run | wc -l | tee "counted/$CM_JOB_ID"
while [ ! -e go ]; do sleep 0.05; done
rm "run/$CM_JOB_ID"
"""
"""Tells how many run when it starts, and runs on until the file `go` is there."""

ECHO = function("echo", ["cat"])


def counted(harness: WorkerHarness) -> int:
    """How many have counted so far."""
    return sum(1 for file in harness.folder.glob("counted/*") if file.stat().st_size)


def most_at_once(harness: WorkerHarness, jobs: int, expected: int) -> int:
    """Submit jobs, wait until `expected` of them run and all are in hand, and let them end."""
    ids = [harness.runtime.submit("counting") for _ in range(jobs)]
    handed_out = harness.runtime.jobs.handed_out
    harness.runtime.request_log.wait_for(lambda: len(handed_out) == jobs, what="handing out all jobs")
    harness.runtime.request_log.wait_for(lambda: counted(harness) >= expected, what="their start")
    harness.folder.joinpath("go").touch()
    return max(int(harness.runtime.result(job).body) for job in ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the number may come from, and what must be."""

    expected: int
    option: str | None = None
    variable: str | None = None
    toml: int | None = None
    platform: str | None = None


@pytest.mark.parametrize(
    "sources",
    [
        Sources(expected=1),
        Sources(platform="2", expected=2),
        Sources(platform="many", expected=1),
        Sources(platform="0", expected=1),
        Sources(toml=3, platform="2", expected=3),
        Sources(variable="2", toml=3, platform="4", expected=2),
        Sources(option="4", variable="2", toml=3, platform="1", expected=4),
        Sources(option="1", variable="2", toml=3, platform="4", expected=1),
    ],
    ids=str,
)
def test_sources_of_the_concurrency(harness: WorkerHarness, sources: Sources) -> None:
    """The concurrency comes from the option, the variable, cm.toml or the platform, in this order."""
    launcher = "" if sources.toml is None else table("launcher", concurrency=sources.toml)
    named = {"CM_EXEC_CONCURRENCY": sources.variable, "MAX_CONCURRENT_TASKS": sources.platform}
    variables = {name: text for name, text in named.items() if text is not None}
    arguments = [] if sources.option is None else ["--concurrency", sources.option]
    config = function("counting", COUNTING) + launcher
    harness.start(config, *arguments, environment={**harness.environment(), **variables})
    assert most_at_once(harness, 6, sources.expected) == sources.expected


def test_more_jobs_than_slots(harness: WorkerHarness) -> None:
    """More jobs than slots are all answered, in order."""
    record = 'echo "$CM_JOB_ID" >> order; cat'
    harness.start(function("f", record))
    jobs = [harness.runtime.submit("f", b"%d" % n) for n in range(12)]
    assert [bytes(harness.runtime.result(job).body) for job in jobs] == [b"%d" % n for n in range(12)]
    assert harness.folder.joinpath("order").read_text().split() == jobs


def test_max_concurrency(harness: WorkerHarness) -> None:
    """A function at its max_concurrency does not delay other functions."""
    harness.start(function("counting", COUNTING, max_concurrency=1) + ECHO, "--concurrency", "2")
    slow = [harness.runtime.submit("counting") for _ in range(3)]
    assert [harness.runtime.call("echo", b"%d" % n) for n in range(3)] == [b"0", b"1", b"2"]
    assert all(harness.runtime.posts(job) == [] for job in slow)
    harness.folder.joinpath("go").touch()
    assert [int(harness.runtime.result(job).body) for job in slow] == [1, 1, 1]


def test_jobs_above_max_concurrency(harness: WorkerHarness) -> None:
    """Jobs of a function above its max_concurrency occupy no slot."""
    config = function("counting", COUNTING, max_concurrency=2) + ECHO
    harness.start(config, "--concurrency", "3")
    slow = [harness.runtime.submit("counting") for _ in range(6)]
    assert harness.runtime.call("echo", b"1") == b"1"
    harness.runtime.request_log.wait_for(lambda: counted(harness) == 2, what="the start of two")
    harness.folder.joinpath("go").touch()
    assert max(int(harness.runtime.result(job).body) for job in slow) == 2


def test_many_jobs(harness: WorkerHarness) -> None:
    """Many jobs on many slots are answered once each, with their own results."""
    harness.start(ECHO, "--concurrency", "8")
    queries = {harness.runtime.submit("echo", b"[%d]" % n): b"[%d]" % n for n in range(200)}
    assert {job: bytes(harness.runtime.result(job).body) for job in queries} == queries
    assert all(len(harness.runtime.posts(job)) == 1 for job in queries)
