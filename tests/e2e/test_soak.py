"""A small soak: handlers of a real worker are killed, hang and misbehave."""

from pathlib import Path

import pytest

from benchmarks.soak import SETUPS, Mode, Plan, report, soak


@pytest.mark.parametrize(
    ("mode", "jobs", "reasons"),
    [
        ("persistent", 1500, {"out_of_step"}),
        ("spawn", 400, {"exit"}),
        ("service", 300, {"out_of_step", "exit", "handler", "output_limit"}),
        ("http", 500, {"out_of_step", "exit", "http_status"}),
    ],
)
def test_every_job_gets_its_own_answer(tmp_path: Path, mode: Mode, jobs: int, reasons: set[str]) -> None:
    plan = Plan(jobs=jobs, every=50, mode=mode, concurrency=SETUPS[mode].concurrency, large=2_000_000)
    tally = soak(plan, tmp_path)
    print("\n".join(report(tally)))
    assert tally.wrong == []
    assert tally.lost == []
    assert tally.violations == []
    assert tally.twice == []
    assert tally.left_over == 0
    assert tally.answered == jobs
    assert tally.right >= 0.8 * jobs
    assert set(tally.reasons) <= {"signal", "timeout", *reasons}
    assert tally.growth()[1] <= 12 + plan.concurrency  # each slot may have opened its connection late
