"""A small soak: handlers of a real worker are killed, hang and misbehave."""

from pathlib import Path

import pytest

from benchmarks.soak import Mode, Plan, report, soak


@pytest.mark.parametrize(("mode", "jobs", "reason"), [("persistent", 1500, "out_of_step"), ("spawn", 400, "exit")])
def test_every_job_gets_its_own_answer(tmp_path: Path, mode: Mode, jobs: int, reason: str) -> None:
    tally = soak(Plan(jobs=jobs, every=50, mode=mode), tmp_path)
    print("\n".join(report(tally)))
    assert tally.wrong == []
    assert tally.lost == []
    assert tally.violations == []
    assert tally.left_over == 0
    assert tally.answered == jobs
    assert tally.right >= 0.8 * jobs
    assert set(tally.reasons) <= {reason, "signal", "timeout"}
    assert tally.growth()[1] <= 12
