"""The benchmark: its arithmetic, its load, its output, and short loads over real TLS."""

import json
import os
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks import case as cases
from benchmarks.case import MIB, Case, Task, size_text
from benchmarks.chart import Bar, Panel, svg
from benchmarks.machine import Machine
from benchmarks.measure import IdleUsage
from benchmarks.payload import Kind, Payload
from benchmarks.processes import MachineClock, usage
from benchmarks.report import Report
from benchmarks.results import page, picture
from benchmarks.rows import (
    FORK_FLOOR,
    NAMES,
    PERSISTENT,
    PRESPAWN,
    SDK_PROCESSES,
    SDK_THREADS,
    SERVICE,
    SPAWN,
    TLS_FLOOR,
    http_server,
)
from benchmarks.runtime.connection import PeerGoneError, _chunked_body
from benchmarks.runtime.lane import LONG_POLL, NO_CONTENT, NOT_FOUND, Lane, Load, Measured
from benchmarks.runtime_process import ROOT, BenchmarkError, runtime
from benchmarks.sample import Sample, Samples
from benchmarks.statistics import Spread, percentile, ratios
from benchmarks.table import Table
from benchmarks.targets import compare
from benchmarks.worker_process import worker

ECHO = Case(task="echo", size=64, concurrency=1, seconds=1.0, warmup=0, min_jobs=1, rounds=3)
MACHINE = Machine(processor="a <fast> one", cores=2, memory_gib=4.0, system="Linux 6", python="3.13.0", cm_exec="1.0")


def test_percentiles_are_interpolated() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], 0.5), percentile([1.0, 2.0], 1.0), percentile([7.0], 0.9)] == [2.5, 2, 7]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_ratios_are_taken_round_by_round() -> None:
    """The ratio of the medians would be 20 / 2: the machine was three times as fast in the last round."""
    assert ratios([10.0, 20.0, 90.0], [1.0, 2.0, 3.0]) == Spread(10.0, 10.0, 30.0)


@pytest.mark.parametrize("kind", ["text", "records"])
@pytest.mark.parametrize("size", [64, 1000, 65536])
def test_only_an_echo_of_the_query_is_right(size: int, kind: Kind) -> None:
    payload = Payload(size, kind)
    query = b"".join(payload.query(17))
    assert len(query) == size
    assert json.loads(query)["serial"] == "000000017"
    assert payload.is_echo(17, query)
    assert payload.is_echo(17, json.dumps(json.loads(query), separators=(",", ":")).encode())
    assert not payload.is_echo(18, query)
    assert not any(payload.is_echo(17, wrong) for wrong in (query + b"\n", query[:-1], b"?" + query[1:], b""))


class HeldPoll:
    """A connection that keeps what is sent on it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *parts: bytes) -> None:
        self.sent.append(b"".join(parts))

    def job(self) -> tuple[str, bytes]:
        """Return the id and the query of the last job that was sent on it."""
        body = self.sent[-1].partition(b"\r\n\r\n")[2]
        query = body.partition(b'"query": ')[2].rpartition(b', "userId"')[0]
        return json.loads(body)["computeModuleJobV1"]["jobId"], query


class LaneAtRest:
    """A lane whose clock moves only when it is set; times in seconds."""

    def __init__(self, *, in_progress: int = 1, warmup: int = 0, min_jobs: int = 1, pause: float = 0.0) -> None:
        self.now = 0.0
        self.measured: list[Measured] = []
        self.lane = Lane(
            "a",
            clock=lambda: int(self.now * 1e9),
            cpu_clock=lambda: int(self.now * 1e8),
            first_poll=lambda *_: None,
            finished=self.measured.append,
        )
        self._load = Load(
            payload=Payload(64), in_progress=in_progress, warmup=warmup, min_jobs=min_jobs, seconds=1.0, pause=pause
        )

    def start(self) -> None:
        self.lane.start(self._load)

    def poll(self) -> HeldPoll:
        poll = HeldPoll()
        self.lane.poll(poll)
        return poll

    def answer(self, poll: HeldPoll, *, wrong: bool = False) -> bytes:
        job_id, query = poll.job()
        post = HeldPoll()
        self.lane.result(job_id, b"?" if wrong else query, post)
        return post.sent[0]


def test_jobs_in_progress() -> None:
    """A load never has more jobs in progress than its limit."""
    lane = LaneAtRest(in_progress=2)
    polls = [lane.poll() for _ in range(3)]
    lane.start()
    assert [len(poll.sent) for poll in polls] == [1, 1, 0]
    assert lane.answer(polls[1]) == NO_CONTENT
    assert len(polls[2].sent) == 1


def test_long_poll() -> None:
    """A poll without a job is answered after the long poll."""
    lane = LaneAtRest()
    held = lane.poll()
    lane.now = LONG_POLL - 0.1
    lane.lane.tick()
    assert held.sent == []
    lane.now = LONG_POLL
    lane.lane.tick()
    assert held.sent == [NO_CONTENT]


def test_measured_time() -> None:
    """A lane measures from the delivery of a job to its result."""
    lane = LaneAtRest(warmup=2)
    lane.start()
    for _ in range(2):
        lane.answer(lane.poll())
    lane.now = 5.0
    poll = lane.poll()
    lane.now = 7.0
    assert lane.answer(poll, wrong=True) == NO_CONTENT
    assert lane.measured == [Measured([2_000_000_000], wrong=1, started=0, ended=7_000_000_000, cpu=700_000_000)]
    assert lane.answer(poll) == NOT_FOUND


def test_end_of_a_load() -> None:
    """A load ends when its time is over and all its jobs are answered."""
    lane = LaneAtRest(min_jobs=2)
    lane.start()
    lane.answer(lane.poll())
    lane.now = 2.0
    assert lane.measured == []
    lane.answer(lane.poll())
    assert len(lane.measured) == 1
    assert lane.poll().sent == []


def test_end_between_two_jobs() -> None:
    """A load ends in time although no poll is waiting: a benchmark once hung here."""
    lane = LaneAtRest()
    lane.start()
    lane.answer(lane.poll())
    lane.now = 2.0
    lane.poll()
    assert len(lane.measured) == 1


def test_pause() -> None:
    """The next job after a result waits for the pause."""
    lane = LaneAtRest(min_jobs=2, pause=0.5)
    lane.start()
    lane.answer(lane.poll())
    held = lane.poll()
    lane.now = 0.4
    lane.lane.tick()
    assert held.sent == []
    lane.now = 0.5
    lane.lane.tick()
    assert len(held.sent) == 1


def test_a_chunked_body_is_joined() -> None:
    received = bytearray(b"head" + b"3\r\nabc\r\n" + b"a;x=y\r\n0123456789\r\n" + b"0\r\n\r\nnext")
    assert _chunked_body(received, 4) == (bytearray(b"abc0123456789"), len(received) - len(b"next"))
    assert all(_chunked_body(received[: -len(b"next") - n], 4) is None for n in range(1, len(received) - 8))
    with pytest.raises(PeerGoneError):
        _chunked_body(bytearray(b"xyz\r\nabc\r\n"), 0)


def test_a_table_is_text_and_markdown() -> None:
    table = Table.of("A title", ("", "jobs/s"), [("one", "1,234"), ("another", "5")])
    columns = ["          jobs/s", "────────────────", "one        1,234", "another        5"]
    assert table.text().splitlines() == ["A title", *columns]
    assert table.markdown() == "### A title\n\n|  | jobs/s |\n| --- | ---: |\n| one | 1,234 |\n| another | 5 |"
    with pytest.raises(ValueError, match="as many cells"):
        Table.of("", ("", "jobs/s"), [("one",)])


def test_chart() -> None:
    """A chart has its labels, and its bars are to scale."""
    bar = Bar(label="cm-exec & co", value=50.0, low=40.0, high=60.0, tone="ours", note="(2.0 times)", mark=100.0)
    other = replace(bar, value=25.0, mark=None, tone="theirs")
    root = ET.fromstring(svg("T", "S", [Panel(title="P", bars=(bar, other))], "F"))  # noqa: S314 - our own
    assert {"T", "S", "P", "F", "cm-exec & co", "50  (2.0 times)"} <= set(root.itertext())
    rects = {r.get("class"): r for r in root.iter("{http://www.w3.org/2000/svg}rect")}
    ours, theirs, whole = (float(rects[name].get("width") or 0) for name in ("ours", "theirs", "page"))
    assert ours == pytest.approx(2 * theirs)
    assert float(rects["ours"].get("x") or 0) + 2 * ours < whole


def sample(row: str, rate: float, case: Case = ECHO, *, number: int = 0, **values: float) -> Sample:
    return Sample(
        row=row,
        case=case,
        round=number,
        jobs=100,
        wrong=int(values.get("wrong", 0)),
        jobs_per_second=rate,
        p50=1 / rate,
        p90=2 / rate,
        p99=3 / rate,
        other_load=values.get("other_load", 0.01),
        first_poll=values.get("first_poll"),
        memory=int(values["memory"]) if "memory" in values else None,
    )


def report(*samples: Sample) -> Report:
    idle = [IdleUsage(row=SPAWN, cpu=0.0012, memory=20 * MIB)]
    return Report(samples=Samples(samples), idle=idle, ceilings={}, cores=2)


THREE_ROUNDS = (
    *(sample(SPAWN, rate, number=n, first_poll=0.2) for n, rate in enumerate((400.0, 800.0, 900.0))),
    *(sample(SDK_PROCESSES, rate, number=n, first_poll=0.1) for n, rate in enumerate((200.0, 400.0, 500.0))),
)


def test_table_of_a_case() -> None:
    """A case's table shows medians, the spread and the ratio to the SDK."""
    table = next(table for table in report(*THREE_ROUNDS).tables() if table.title == "echo, 64 B, concurrency 1")
    cells = dict(zip(table.heads, table.rows[0], strict=True))
    assert cells[""] == "cm-exec, spawn"
    assert (cells["jobs/s"], cells["low to high"], cells["times SDK"]) == ("800", "400 to 900", "2.00")
    assert (cells["p50 ms"], cells["p99 ms"]) == ("1.25", "3.75")


def test_wrong_results_are_shown_beside_the_name() -> None:
    assert report(sample(SPAWN, 1.0, wrong=3)).tables()[0].rows[0][0] == "cm-exec, spawn (3 WRONG)"


def test_the_ratios_are_compared_with_the_targets() -> None:
    def at(concurrency: int, task: Task = "echo") -> Case:
        return replace(ECHO, concurrency=concurrency, task=task)

    samples = Samples(
        [
            *(sample(SPAWN, 500.0), sample(SPAWN, 1500.0, at(4)), sample(SPAWN, 1.0, at(16))),
            *(sample(PERSISTENT, 2000.0), sample(PERSISTENT, 4000.0, at(16))),
            *(sample(FORK_FLOOR, 1000.0), sample(TLS_FLOOR, 4000.0), sample(SDK_PROCESSES, 250.0)),
            *(sample(SERVICE, 1.0, at(16, "shared"), memory=33), sample(SDK_THREADS, 1.0, at(16, "shared"), memory=22)),
        ]
    )
    found = [(c.target.name, round(c.ratio.median, 2), c.is_reached) for c in compare(samples, cores=16)]
    assert found == [
        ("persistent to the Python SDK", 8, True),
        ("persistent to the bare TLS loop", 0.5, True),
        ("persistent to itself with one job at a time", 2, True),
        ("spawn to the Python SDK", 2, True),
        ("spawn's p50 to that of both floors", 1.6, False),
        ("spawn to itself with one job at a time", 3, True),
        ("memory of one service process to the SDK's threads", 1.5, False),
    ]
    assert len(list(compare(samples, cores=2))) == len(found) - 1


def test_missed_targets_are_marked() -> None:
    ratios = report(*THREE_ROUNDS).tables()[0]
    assert ratios.rows == (
        ("spawn to the Python SDK", "1", "2.00", "1.80 to 2.00", "at least 1.5"),
        ("start to first poll, to the Python SDK", "1", "2.00", "2.00 to 2.00", "at most 0.95: MISSED"),
    )


def test_start_is_compared_over_all_cases() -> None:
    """A worker starts in the same way in each case, so a round's start is the median of its cases."""
    many = replace(ECHO, concurrency=16)
    large = replace(ECHO, size=8 * MIB)
    starts = [(SPAWN, ECHO, 0.9), (SPAWN, many, 0.2), (SPAWN, large, 0.1), (SDK_PROCESSES, many, 0.4)]
    samples = Samples([sample(row, 1.0, case, first_poll=seconds) for row, case, seconds in starts])
    found = {c.target.name: c.ratio.median for c in compare(samples, cores=2)}
    assert found["start to first poll, to the Python SDK"] == pytest.approx(0.5)


def test_sentence_about_prespawn() -> None:
    """A paced case compares prespawn with spawn."""
    paced = replace(ECHO, task="numpy", pause=0.4)
    sentences = report(sample(SPAWN, 10.0, paced), sample(PRESPAWN, 50.0, paced)).sentences()
    assert sentences[0] == "for a handler that imports numpy, prespawn's p50 is 0.20 of spawn's."


def test_a_busy_machine_is_reported() -> None:
    assert "do not rely on these numbers" in report(sample(SPAWN, 1.0, other_load=0.5)).sentences()[-1]
    assert "do not rely on these numbers" not in report(sample(SPAWN, 1.0)).sentences()[-1]


def test_page() -> None:
    """The page has the machine, the date, the chart and every table."""
    text = page(report(*THREE_ROUNDS), MACHINE, date(2026, 1, 2))
    assert "2026-01-02: 2 cores (a <fast> one), 4 GiB, Linux 6, Python 3.13.0, cm-exec 1.0." in text
    assert "(results.svg)" in text
    assert "| cm-exec, spawn | 800 |" in text
    assert "| cm-exec, spawn | 200 | 200 to 200 |" in text
    assert "| cm-exec, spawn | 0.12% | 20.0 |" in text


def test_floors() -> None:
    """The chart shows a floor as a mark, not as a bar."""
    drawn = picture(report(*THREE_ROUNDS, *(sample(FORK_FLOOR, 1000.0, number=n) for n in range(3))), MACHINE)
    words = "".join(ET.fromstring(drawn).itertext())  # noqa: S314 - our own
    assert all(word in words for word in ("concurrency 1", "cm-exec, spawn", "(2.0 times)"))
    assert NAMES[FORK_FLOOR] not in drawn
    assert drawn.count('class="mark"') == 1


def test_full_run() -> None:
    """A full run measures every size at every concurrency."""
    assert [size_text(n) for n in (64, 65536, 8 * MIB, 32_000_000)] == ["64 B", "64 KiB", "8 MiB", "32 MB"]
    shapes = {(case.size, case.concurrency) for case in cases.full() if case.task == "echo"}
    assert shapes >= {(size, c) for size in (64, 65536, 8 * MIB) for c in (1, 4, 16)}
    for name in ("key", "title"):
        assert len({getattr(case, name) for case in cases.full()}) == len(cases.full())


def test_usage_and_other_load_are_measured() -> None:
    here = usage(os.getpid())
    assert here.proportional > MIB
    assert here.cpu > 0
    before, after = MachineClock(busy=10.0, now=0.0), MachineClock(busy=14.0, now=10.0)
    assert before.other_load(after, 4.0) == before.other_load(after, 5.0) == 0.0
    assert before.other_load(after, 0.0) > 0.0


def floor(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "benchmarks" / "workers" / name), *arguments)


@pytest.mark.parametrize(("size", "concurrency"), [(64, 1), (64, 4), (300_000, 2)])
@pytest.mark.parametrize("name", ["tls_loop.py", "http_loop.py"])
def test_a_floor_answers_every_job(tmp_path: Path, name: str, size: int, concurrency: int) -> None:
    server = () if name == "tls_loop.py" else http_server()
    with runtime(tmp_path) as served:
        served.open("a")
        with worker(floor(name, *server), served.environment("a", concurrency), tmp_path / "log") as running:
            served.first_poll("a", 60, running.is_alive)
            measurement = served.load(
                "a", Payload(size), running.is_alive, in_progress=concurrency, warmup=5, min_jobs=20, seconds=0.0
            )
            served.close("a")
    assert len(measurement.latencies) >= 20
    assert measurement.wrong == 0


def test_the_end_of_a_worker_is_noticed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "print('no'); raise SystemExit(1)")
    with runtime(tmp_path) as served, worker(command, {}, tmp_path / "log") as running:
        served.open("a")
        with pytest.raises(BenchmarkError, match="the worker ended"):
            served.first_poll("a", 60, running.is_alive)
        assert running.log_tail() == "no"


def test_a_worker_without_the_token_gets_no_job(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("0" * 64)
    with runtime(tmp_path) as served:
        served.open("a")
        environment = served.environment("a", 1) | {"MODULE_AUTH_TOKEN": str(tmp_path / "other")}
        with worker(floor("tls_loop.py"), environment, tmp_path / "log") as running:
            with pytest.raises(BenchmarkError, match="did not poll"):
                served.first_poll("a", 1.0, running.is_alive)
            assert running.is_alive()
