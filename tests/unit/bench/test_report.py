"""The report says all that was measured, and no more."""

import json
from dataclasses import replace

import pytest

from cm_exec.bench.advice import advise
from cm_exec.bench.measurement import Measurement, Memory, NotMeasured
from cm_exec.bench.queries import Query
from cm_exec.bench.report import Report, report_json, report_text

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
    alone=0.0021,
    memory=Memory(worker=20 << 20, handlers=1 << 20),
    runtime_share=0.2,
)
WIDER = replace(QUICK, slots=4, alone=None, jobs_per_second=500.0, memory=Memory())
FAILED = NotMeasured(function="bad", mode="spawn", slots=1, why="it ended with exit status 3")
REPORT = Report(
    queries={
        "quick": Query(body=b'{"n": 1}', source="q.json"),
        "bad": Query(body=b"{}", source="{}"),
        "unseen": Query(body=b"{}", source="{}"),
    },
    measured=[QUICK, WIDER],
    failed=[FAILED],
    advice=[advise([QUICK, WIDER], 100.0)],
    notes=["quick: a note"],
    seconds=2.0,
    interrupted=False,
)


def text_of(report: Report, *, columns: int = 120, unicode: bool = True) -> list[str]:
    return report_text(report, columns=columns, unicode=unicode).splitlines()


def test_a_function_has_its_query_its_rows_and_its_advice() -> None:
    lines = text_of(REPORT)
    assert lines[0] == "quick   query: q.json (8 bytes)"
    assert lines[1].split() == ["MODE", "SLOTS", "ALONE", "P50", "P90", "P99", "JOBS/S", "JOBS", "HANDLERS", "WORKER"]
    assert " ".join(lines[2].split()) == (
        "spawn 1 2.10 ms 2.00 ms 3.00 ms 4.56 ms 250 500 1.00 MiB 20.0 MiB ████████████"
    )
    assert " ".join(lines[3].split()) == f"spawn 4 2.00 ms 3.00 ms 4.56 ms 500 500 - - {'█' * 24}"
    assert lines[4].startswith("  → mode = ")


def test_a_function_that_failed_is_told_with_its_error_and_one_that_was_not_reached_is_not() -> None:
    text = "\n".join(text_of(REPORT))
    assert "bad   query: {}\n  spawn, 1 slot: not measured: it ended with exit status 3\n" in text
    assert "unseen" not in text
    assert "quick: a note" in text


def test_columns_are_aligned_and_bars_fit_the_terminal() -> None:
    for columns in (200, 120, 100):
        lines = text_of(REPORT, columns=columns)[1:4]
        assert all(len(line) <= columns for line in lines)
        assert len({line.find("MiB") for line in lines[1:2]} | {lines[0].find("HANDLERS") + 5}) == 1


def test_where_the_bars_do_not_fit_they_stand_beneath_the_table() -> None:
    lines = text_of(REPORT, columns=70)[2:6]
    assert [line.count("█") for line in lines] == [0, 0, 12, 24]
    assert lines[2].split()[:2] + lines[2].split()[3:] == ["spawn", "1", "250", "jobs/s"]
    assert max(map(len, lines[2:])) <= 70


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = "\n".join(text_of(REPORT, unicode=False))
    assert text.isascii()
    assert "#" * 24 in text


def test_a_rate_that_the_local_runtime_limits_is_marked() -> None:
    assert not any("local runtime" in line for line in text_of(REPORT))
    lines = text_of(replace(REPORT, measured=[replace(QUICK, runtime_share=0.8)]))
    assert "*250" in lines[2]
    assert any(line.startswith("* The local runtime itself was busy") for line in lines)


def test_jobs_that_failed_among_others_are_told() -> None:
    lines = text_of(replace(REPORT, measured=[replace(QUICK, failed=3, failure="it ended")]))
    assert "quick, spawn, 1 slot: 3 of 503 jobs failed and do not count: it ended" in lines


@pytest.mark.parametrize(
    ("measured", "said"), [([QUICK], "Interrupted: this is what was measured until then."), ([], "Interrupted.")]
)
def test_an_end_before_its_time_is_told(measured: list[Measurement], said: str) -> None:
    report = replace(REPORT, measured=measured, advice=[], interrupted=True)
    assert text_of(report)[-1] == said


def test_json_has_everything_unrounded() -> None:
    document = json.loads(json.dumps(report_json(REPORT)))
    quick, wider = document["measurements"]
    assert quick | {"jobs": 500, "p99": 0.00456, "memory": {"worker": 20 << 20, "handlers": 1 << 20}} == quick
    assert (wider["alone"], wider["slot_time"]) == (None, 0.008)
    assert document["failures"] == [
        {"function": "bad", "mode": "spawn", "slots": 1, "why": "it ended with exit status 3"}
    ]
    (advice,) = document["advice"]
    assert advice["replicas"] == {"rate": 100.0, "busy": 0.8, "replicas": 1}
    assert document["queries"]["quick"] == {"source": "q.json", "bytes": 8}
    assert document["interrupted"] is False
