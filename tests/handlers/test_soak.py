"""Persistent processes are killed, hang and write stray lines, in a real worker: a small soak."""

from pathlib import Path

from benchmarks.soak import Plan, report, soak


def test_no_answer_goes_astray_whatever_the_processes_do(tmp_path: Path) -> None:
    tally = soak(Plan(jobs=1500, every=50), tmp_path)
    print("\n".join(report(tally)))
    assert tally.wrong == []
    assert tally.lost == []
    assert tally.violations == []
    assert tally.answered == 1500
    assert tally.right >= 1200
    assert set(tally.reasons) <= {"out_of_step", "signal", "timeout"}
    assert tally.growth()[1] <= 12
