"""A small soak: handlers of a real worker are killed, hang and misbehave."""

from pathlib import Path

import pytest

from benchmarks.soak import SETUPS, Mode, Plan, report, soak


@pytest.mark.parametrize(
    ("mode", "jobs", "right", "reasons"),
    [
        ("persistent", 1500, 0.8, {"out_of_step"}),
        ("spawn", 400, 0.8, {"exit"}),
        ("service", 300, 0.4, {"out_of_step", "exit", "handler", "output_limit"}),  # a fault fails up to 16 jobs
        ("http", 500, 0.8, {"out_of_step", "exit", "http_status"}),
    ],
)
def test_every_job_gets_its_own_answer(tmp_path: Path, mode: Mode, jobs: int, right: float, reasons: set[str]) -> None:
    plan = Plan(jobs=jobs, every=50, mode=mode, concurrency=SETUPS[mode].concurrency, large=2_000_000)
    tally = soak(plan, tmp_path)
    print("\n".join(report(tally)))
    assert tally.wrong == []
    assert tally.lost == []
    assert tally.violations == []
    assert tally.twice == []
    assert tally.left_over == 0
    assert tally.answered == jobs
    assert tally.right >= right * jobs
    assert set(tally.reasons) <= {"signal", "timeout", *reasons}
    assert tally.growth()[1] <= 12 + plan.concurrency  # each slot may have opened its connection late
