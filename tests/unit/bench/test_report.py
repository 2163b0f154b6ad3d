"""The report of a run, as text and as JSON."""

import json
from dataclasses import replace

import pytest

from cm_exec.bench.measure import FailedMeasurement, Measurement
from cm_exec.bench.report import BenchQuery, BenchReport, advise, report_json, report_text
from cm_exec.bench.worker import Memory

QUICK = Measurement(
    function="quick",
    mode="spawn",
    slots=1,
    jobs=500,
    failed=0,
    failure=None,
    p50=0.002,
    p90=0.003,
    p99=0.00456,
    jobs_per_second=250.0,
    unloaded_p50=0.0021,
    memory=Memory(worker=20 << 20, handlers=1 << 20),
    runtime_share=0.2,
)
WIDER = replace(QUICK, slots=4, unloaded_p50=None, jobs_per_second=500.0, memory=Memory())
FAILED = FailedMeasurement(function="bad", mode="spawn", slots=1, why="it ended with exit status 3")
REPORT = BenchReport(
    query=BenchQuery(body=b'{"n": 1}', source="q.json"),
    functions=["quick", "bad", "unseen"],
    measured=[QUICK, WIDER],
    failed=[FAILED],
    advice=[advise([QUICK, WIDER], 100.0)],
    notes=["quick: a note"],
    seconds=2.0,
    interrupted=False,
)


def lines_of(report: BenchReport) -> list[str]:
    return report_text(report).splitlines()


def test_table() -> None:
    """The query comes first; each function has its rows and its advice."""
    lines = lines_of(REPORT)
    assert lines[:3] == ["query: q.json (8 bytes)", "", "quick"]
    head = ["MODE", "SLOTS", "UNLOADED", "P50", "P90", "P99", "JOBS/S", "JOBS", "HANDLERS", "WORKER"]
    assert lines[3].split() == head
    assert " ".join(lines[4].split()) == "spawn 1 2.10 ms 2.00 ms 3.00 ms 4.56 ms 250 500 1 MiB 20 MiB"
    assert " ".join(lines[5].split()) == "spawn 4 2.00 ms 3.00 ms 4.56 ms 500 500 - -"
    assert len({len(line) for line in lines[3:6]}) == 1
    assert lines[6].startswith("  -> concurrency = 4")


def test_failed_function() -> None:
    """A function that failed is reported with its error; one that was not reached is left out."""
    text = "\n".join(lines_of(REPORT))
    assert "bad\n  spawn, 1 slot: not measured: it ended with exit status 3\n" in text
    assert "unseen" not in text
    assert "quick: a note" in text


def test_busy_runtime() -> None:
    """A rate that the local runtime may have limited is marked."""
    assert not any("local runtime" in line for line in lines_of(REPORT))
    lines = lines_of(replace(REPORT, measured=[replace(QUICK, runtime_share=0.8)]))
    assert "*250" in lines[4]
    assert any(line.startswith("* The local runtime was busy") for line in lines)


def test_failed_jobs() -> None:
    lines = lines_of(replace(REPORT, measured=[replace(QUICK, failed=3, failure="it ended")]))
    assert "quick, spawn, 1 slot: 3 of 503 jobs failed and do not count: it ended" in lines


@pytest.mark.parametrize(
    ("measured", "said"), [([QUICK], "Interrupted: these are the results until then."), ([], "Interrupted.")]
)
def test_interrupted(measured: list[Measurement], said: str) -> None:
    report = replace(REPORT, measured=measured, advice=[], interrupted=True)
    assert lines_of(report)[-1] == said


def test_json() -> None:
    document = json.loads(json.dumps(report_json(REPORT)))
    quick, wider = document["measurements"]
    assert quick | {"jobs": 500, "p99": 0.00456, "memory": {"worker": 20 << 20, "handlers": 1 << 20}} == quick
    assert (wider["unloaded_p50"], wider["slot_time"]) == (None, 0.008)
    assert document["failures"] == [
        {"function": "bad", "mode": "spawn", "slots": 1, "why": "it ended with exit status 3"}
    ]
    (advice,) = document["advice"]
    assert advice["replicas"] == {"rate": 100.0, "busy": 0.8, "replicas": 1}
    assert document["query"] == {"source": "q.json", "bytes": 8}
    assert document["interrupted"] is False
