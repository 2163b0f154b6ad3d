"""The benchmark's pure parts: what it computes, hands out and draws; and one short load over real TLS."""

import json
import os
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks import case as cases
from benchmarks.case import Case, size_text
from benchmarks.chart import Bar, Panel, svg
from benchmarks.machine import Machine
from benchmarks.measure import Idle
from benchmarks.payload import Kind, Payload
from benchmarks.processes import MachineClock, usage
from benchmarks.report import Report
from benchmarks.results import page, picture
from benchmarks.rows import FORK_FLOOR, NAMES, PERSISTENT, PRESPAWN, SDK_PROCESSES, SPAWN, TLS_FLOOR
from benchmarks.runtime.connection import PeerGoneError, _chunked_body
from benchmarks.runtime.lane import LONG_POLL, NO_CONTENT, NOT_FOUND, Lane, Load, Measured
from benchmarks.runtime_process import ROOT, BenchmarkError, runtime
from benchmarks.sample import Sample, Samples
from benchmarks.statistics import Spread, percentile, ratios
from benchmarks.table import Table
from benchmarks.worker_process import worker

ECHO = Case(task="echo", size=64, concurrency=1, seconds=1.0, warmup=0, min_jobs=1, rounds=3)
MACHINE = Machine(processor="a <fast> one", cores=2, memory_gib=4.0, system="Linux 6", python="3.13.0", cm_exec="1.0")


class TestStatistics:
    def test_a_percentile_lies_between_the_values_around_it(self) -> None:
        assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
        assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
        assert percentile([1.0, 2.0], 1.0) == 2.0
        assert percentile([7.0], 0.99) == 7.0

    def test_of_nothing_there_is_no_percentile_and_no_spread(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            percentile([], 0.5)
        with pytest.raises(ValueError, match="no values"):
            Spread.of([])

    def test_ratios_are_taken_round_by_round(self) -> None:
        """The medians' ratio would be 20 / 2: the machine was three times as fast in the last round."""
        assert ratios([10.0, 20.0, 90.0], [1.0, 2.0, 3.0]) == Spread(10.0, 10.0, 30.0)

    def test_rounds_that_do_not_pair_up_give_no_ratio(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            ratios([1.0, 2.0], [1.0])


class TestPayload:
    @pytest.mark.parametrize("kind", ["text", "records"])
    @pytest.mark.parametrize("size", [64, 1000, 65536])
    def test_a_query_is_json_of_exactly_its_size(self, size: int, kind: Kind) -> None:
        query = b"".join(Payload(size, kind).query(17))
        assert len(query) == size
        assert json.loads(query)["serial"] == "000000017"

    @pytest.mark.parametrize("kind", ["text", "records"])
    def test_an_echo_is_known_in_either_spacing_and_nothing_else_is(self, kind: Kind) -> None:
        payload = Payload(1000, kind)
        query = b"".join(payload.query(17))
        assert payload.is_echo(17, query)
        assert payload.is_echo(17, bytearray(json.dumps(json.loads(query), separators=(",", ":")).encode()))
        assert not payload.is_echo(18, query)
        assert not payload.is_echo(17, query + b"\n")
        assert not payload.is_echo(17, query[:-1])
        assert not payload.is_echo(17, query[:500] + b"?" + query[501:])
        assert not payload.is_echo(17, b"")

    def test_a_size_that_no_query_can_have_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 35 bytes"):
            Payload(10)


class Wire:
    """A connection that keeps what is sent on it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *parts: bytes) -> None:
        self.sent.append(b"".join(parts))

    def job(self) -> tuple[str, bytes]:
        """The id and the query of the last job that was sent on it."""
        body = self.sent[-1].partition(b"\r\n\r\n")[2]
        query = body.partition(b'"query": ')[2].rpartition(b', "userId"')[0]
        return json.loads(body)["computeModuleJobV1"]["jobId"], query


class Stand:
    """A lane with a clock that stands still until it is moved; times in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.polls: list[str] = []
        self.measured: list[Measured] = []
        self.lane = Lane(
            "a",
            clock=lambda: int(self.now * 1e9),
            cpu_clock=lambda: int(self.now * 1e8),
            first_poll=lambda name, _: self.polls.append(name),
            finished=self.measured.append,
        )

    def load(self, in_hand: int = 1, warmup: int = 0, min_jobs: int = 1, pause: float = 0.0) -> None:
        load = Load(payload=Payload(64), in_hand=in_hand, warmup=warmup, min_jobs=min_jobs, seconds=1.0, pause=pause)
        self.lane.start(load)

    def poll(self) -> Wire:
        wire = Wire()
        self.lane.poll(wire)
        return wire

    def answer(self, polled: Wire, *, wrong: bool = False) -> bytes:
        job_id, query = polled.job()
        poster = Wire()
        self.lane.result(job_id, b"?" if wrong else query, poster)
        return poster.sent[0]


class TestLane:
    def test_only_the_first_poll_is_told(self) -> None:
        stand = Stand()
        stand.poll()
        stand.poll()
        assert stand.polls == ["a"]

    def test_no_more_jobs_are_in_hand_than_were_asked_for(self) -> None:
        stand = Stand()
        waiting = [stand.poll() for _ in range(3)]
        stand.load(in_hand=2)
        assert [len(wire.sent) for wire in waiting] == [1, 1, 0]
        assert stand.answer(waiting[1]) == NO_CONTENT
        assert len(waiting[2].sent) == 1

    def test_a_poll_without_a_job_is_answered_after_the_long_poll(self) -> None:
        stand = Stand()
        held = stand.poll()
        stand.now = LONG_POLL - 0.1
        stand.lane.tick()
        assert held.sent == []
        stand.now = LONG_POLL
        stand.lane.tick()
        assert held.sent == [NO_CONTENT]

    def test_a_connection_that_is_gone_gets_no_job(self) -> None:
        stand = Stand()
        gone, there = stand.poll(), stand.poll()
        stand.lane.forget(gone)
        stand.load()
        assert (len(gone.sent), len(there.sent)) == (0, 1)

    def test_all_polls_are_answered_when_the_lane_closes(self) -> None:
        stand = Stand()
        held = stand.poll()
        stand.lane.release()
        assert held.sent == [NO_CONTENT]

    def test_times_are_from_the_hand_out_to_the_result(self) -> None:
        stand = Stand()
        polled = stand.poll()
        stand.load()
        stand.now = 1.5
        stand.answer(polled)
        assert stand.measured == [Measured([1_500_000_000], wrong=0, started=0, ended=1_500_000_000, cpu=150_000_000)]

    def test_a_wrong_result_is_counted(self) -> None:
        stand = Stand()
        polled = stand.poll()
        stand.load()
        stand.now = 1.5
        stand.answer(polled, wrong=True)
        assert stand.measured[0].wrong == 1

    def test_a_result_that_nobody_waits_for_is_not_found(self) -> None:
        stand = Stand()
        polled = stand.poll()
        stand.load()
        stand.answer(polled)
        assert stand.answer(polled) == NOT_FOUND

    def test_jobs_of_the_warm_up_do_not_count(self) -> None:
        stand = Stand()
        stand.load(warmup=2)
        for _ in range(2):
            stand.answer(stand.poll())
        stand.now = 5.0
        polled = stand.poll()
        stand.now = 7.0
        stand.answer(polled)
        assert stand.measured[0].latencies == [2_000_000_000]
        assert stand.measured[0].started == 0

    def test_a_load_goes_on_until_its_time_is_over_and_its_jobs_are_answered(self) -> None:
        stand = Stand()
        stand.load(min_jobs=3)
        stand.answer(stand.poll())
        stand.now = 2.0
        stand.answer(stand.poll())
        assert stand.measured == []
        stand.answer(stand.poll())
        assert len(stand.measured) == 1
        assert stand.poll().sent == []

    def test_a_load_ends_also_when_its_time_runs_out_between_two_jobs(self) -> None:
        """The last result came in time and no poll was waiting: a benchmark once waited here for ever."""
        stand = Stand()
        stand.load()
        stand.answer(stand.poll())
        stand.now = 2.0
        stand.poll()
        assert len(stand.measured) == 1

    def test_after_an_answer_the_next_job_waits_for_the_pause(self) -> None:
        stand = Stand()
        stand.load(min_jobs=2, pause=0.5)
        stand.answer(stand.poll())
        held = stand.poll()
        stand.now = 0.4
        stand.lane.tick()
        assert held.sent == []
        stand.now = 0.5
        stand.lane.tick()
        assert len(held.sent) == 1


class TestChunkedBody:
    def test_it_is_joined_and_its_end_found(self) -> None:
        received = bytearray(b"head" + b"3\r\nabc\r\n" + b"a;x=y\r\n0123456789\r\n" + b"0\r\n\r\nnext")
        assert _chunked_body(received, 4) == (bytearray(b"abc0123456789"), len(received) - len(b"next"))

    @pytest.mark.parametrize("part", [b"", b"3", b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n"])
    def test_of_a_part_nothing_is_taken(self, part: bytes) -> None:
        assert _chunked_body(bytearray(part), 0) is None

    def test_a_size_that_is_none_is_an_error(self) -> None:
        with pytest.raises(PeerGoneError):
            _chunked_body(bytearray(b"xyz\r\nabc\r\n"), 0)


class TestTable:
    table = Table.of("A title", ("", "jobs/s"), [("one", "1,234"), ("another", "5")])

    def test_a_terminal_gets_columns_that_line_up(self) -> None:
        assert self.table.text().splitlines() == [
            "A title",
            "          jobs/s",
            "────────────────",
            "one        1,234",
            "another        5",
        ]

    def test_a_page_gets_markdown(self) -> None:
        assert self.table.markdown() == (
            "### A title\n\n|  | jobs/s |\n| --- | ---: |\n| one | 1,234 |\n| another | 5 |"
        )

    def test_a_row_with_a_missing_cell_is_refused(self) -> None:
        with pytest.raises(ValueError, match="as many cells"):
            Table.of("", ("", "jobs/s"), [("one",)])


class TestChart:
    bar = Bar(label="cm-exec & co", value=50.0, low=40.0, high=60.0, tone="ours", note="(2.0 times)", mark=100.0)

    def drawn(self, *bars: Bar) -> ET.Element:
        return ET.fromstring(svg("T", "S", [Panel(title="P", bars=bars)], "F"))  # noqa: S314 - our own

    def test_it_is_xml_with_a_title_for_who_cannot_see_it(self) -> None:
        root = self.drawn(self.bar)
        named = root.find("{http://www.w3.org/2000/svg}title")
        assert named is not None
        assert (named.text, root.get("role"), root.get("aria-labelledby")) == ("T", "img", named.get("id"))

    def test_all_words_and_numbers_are_in_it(self) -> None:
        words = "".join(self.drawn(self.bar).itertext())
        assert all(word in words for word in ("cm-exec & co", "50", "(2.0 times)", "P", "S", "F"))

    def test_bars_are_as_long_as_their_values_say_and_fit(self) -> None:
        root = self.drawn(self.bar, replace(self.bar, value=25.0, mark=None, tone="theirs"))
        rects = {r.get("class"): r for r in root.iter("{http://www.w3.org/2000/svg}rect")}
        ours, theirs, whole = (float(rects[name].get("width") or 0) for name in ("ours", "theirs", "page"))
        assert ours == pytest.approx(2 * theirs)
        assert float(rects["ours"].get("x") or 0) + 2 * ours < whole

    def test_it_has_colours_for_dark_pages(self) -> None:
        assert "prefers-color-scheme: dark" in svg("T", "S", [Panel(title="P", bars=(self.bar,))])

    def test_a_panel_without_bars_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no bars"):
            self.drawn()


def sample(row: str, number: int, rate: float, case: Case = ECHO, **more: float) -> Sample:
    return Sample(
        row=row,
        case=case,
        round=number,
        jobs=100,
        wrong=0,
        jobs_per_second=rate,
        p50=1 / rate,
        p90=2 / rate,
        p99=3 / rate,
        elsewhere=more.get("elsewhere", 0.01),
        first_poll=more.get("first_poll"),
    )


def report(*samples: Sample) -> Report:
    idle = [Idle(row=SPAWN, cpu=0.0012, memory=20 * 2**20)]
    return Report(samples=Samples(samples), idle=idle, ceilings={})


class TestReport:
    three = (
        *(sample(SPAWN, n, rate, first_poll=0.2) for n, rate in enumerate((400.0, 800.0, 900.0))),
        *(sample(SDK_PROCESSES, n, rate, first_poll=0.1) for n, rate in enumerate((200.0, 400.0, 500.0))),
    )

    def test_a_table_shows_medians_spread_and_the_ratio_to_the_sdk(self) -> None:
        table = report(*self.three).tables()[0]
        assert table.title == "echo, 64 B, concurrency 1"
        cells = dict(zip(table.heads, table.rows[0], strict=True))
        assert cells[""] == "cm-exec, spawn"
        assert (cells["jobs/s"], cells["low to high"], cells["times SDK"]) == ("800", "400 to 900", "2.00")
        assert (cells["p50 ms"], cells["p99 ms"]) == ("1.25", "3.75")

    def test_wrong_results_cannot_be_overlooked(self) -> None:
        broken = replace(self.three[0], wrong=3)
        assert report(broken).tables()[0].rows[0][0] == "cm-exec, spawn (3 WRONG)"

    def test_the_ratios_are_said_in_words(self) -> None:
        sentences = report(*self.three).sentences()
        assert sentences[:2] == [
            "mode spawn, echo, 64 B: 2.00 at concurrency 1 times the Python SDK's jobs per second.",
            "start to first poll takes 2.00 of the Python SDK's time.",
        ]

    def test_both_floors_together_bound_spawn_and_the_tls_loop_bounds_persistent(self) -> None:
        rates = {SPAWN: 500.0, PERSISTENT: 2000.0, FORK_FLOOR: 1000.0, TLS_FLOOR: 8000.0}
        sentences = report(*(sample(row, 0, rate) for row, rate in rates.items())).sentences()
        assert "spawn's p50 is 1.78 times both floors' together at concurrency 1." in sentences
        assert "persistent does 0.25 of the bare TLS loop's jobs per second at concurrency 1." in sentences

    def test_a_paced_case_compares_prespawn_with_spawn_and_counts_for_no_rate(self) -> None:
        paced = replace(ECHO, task="numpy", pause=0.4)
        rates = {SPAWN: 10.0, PRESPAWN: 50.0, SDK_PROCESSES: 100.0}
        sentences = report(*(sample(row, 0, rate, paced) for row, rate in rates.items())).sentences()
        assert sentences[0] == "for a handler that imports numpy, prespawn's p50 is 0.20 of spawn's."

    def test_a_machine_that_others_use_is_called_that(self) -> None:
        assert "not to be trusted" in report(sample(SPAWN, 0, 1.0, elsewhere=0.5)).sentences()[-1]
        assert "not to be trusted" not in report(sample(SPAWN, 0, 1.0)).sentences()[-1]

    def test_start_and_idle_have_their_tables(self) -> None:
        start, idle = report(*self.three).tables()[1:]
        assert start.rows == (("cm-exec, spawn", "200", "200 to 200"), ("Python SDK, processes", "100", "100 to 100"))
        assert idle.rows == (("cm-exec, spawn", "0.12%", "20.0"),)

    def test_the_page_has_the_machine_the_day_the_picture_and_every_table(self) -> None:
        text = page(report(*self.three), MACHINE, date(2026, 1, 2))
        assert "2026-01-02: 2 cores (a <fast> one), 4 GiB, Linux 6, Python 3.13.0, cm-exec 1.0." in text
        assert "(results.svg)" in text
        assert "| cm-exec, spawn | 800 |" in text
        assert "### idle, concurrency 4" in text

    def test_the_picture_shows_the_small_echo(self) -> None:
        words = "".join(ET.fromstring(picture(report(*self.three), MACHINE)).itertext())  # noqa: S314 - our own
        assert "concurrency 1" in words
        assert "cm-exec, spawn" in words
        assert "(2.0 times)" in words

    def test_floors_are_marks_in_the_picture_and_no_bars(self) -> None:
        drawn = picture(report(*self.three, *(sample(FORK_FLOOR, n, 1000.0) for n in range(3))), MACHINE)
        assert NAMES[FORK_FLOOR] not in drawn
        assert drawn.count('class="mark"') == 1


class TestCases:
    def test_sizes_are_written_as_people_write_them(self) -> None:
        assert [size_text(n) for n in (64, 65536, 8 * 2**20, 32_000_000)] == ["64 B", "64 KiB", "8 MiB", "32 MB"]

    def test_a_full_run_has_every_size_at_every_concurrency(self) -> None:
        shapes = {(c.size, c.concurrency) for c in cases.full() if c.task == "echo"}
        assert shapes >= {(size, c) for size in (64, 65536, 8 * 2**20) for c in (1, 4, 16)}

    def test_every_case_has_a_title_of_its_own(self) -> None:
        titles = [case.title for case in cases.full()]
        assert len(set(titles)) == len(titles)


class TestProcesses:
    def test_a_process_uses_memory_and_time(self) -> None:
        here = usage(os.getpid())
        assert here.proportional > 2**20
        assert here.cpu > 0

    def test_what_is_ours_is_not_elsewhere(self) -> None:
        before, after = MachineClock(busy=10.0, now=0.0), MachineClock(busy=14.0, now=10.0)
        assert before.elsewhere(after, 4.0) == 0.0
        assert before.elsewhere(after, 5.0) == 0.0
        assert before.elsewhere(after, 0.0) > 0.0


class TestRuntimeProcess:
    loop = (sys.executable, str(ROOT / "benchmarks" / "workers" / "tls_loop.py"))

    @pytest.mark.parametrize(("size", "concurrency"), [(64, 1), (64, 4), (300_000, 2)])
    def test_the_bare_loop_answers_every_job_rightly(self, tmp_path: Path, size: int, concurrency: int) -> None:
        with runtime(tmp_path) as served:
            served.open("a")
            with worker(self.loop, served.environment("a", concurrency), tmp_path / "log") as running:
                served.first_poll("a", 60, running.is_alive)
                loaded = served.load(
                    "a", Payload(size), running.is_alive, in_hand=concurrency, warmup=5, min_jobs=20, seconds=0.0
                )
                served.close("a")
        assert len(loaded.latencies) >= 20
        assert loaded.wrong == 0

    def test_a_worker_that_ends_is_told_at_once(self, tmp_path: Path) -> None:
        command = (sys.executable, "-c", "print('no'); raise SystemExit(1)")
        with runtime(tmp_path) as served, worker(command, {}, tmp_path / "log") as running:
            served.open("a")
            with pytest.raises(BenchmarkError, match="the worker ended"):
                served.first_poll("a", 60, running.is_alive)
            assert running.log_tail() == "no"

    def test_a_worker_without_the_token_gets_no_job(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("0" * 64)
        with runtime(tmp_path) as served:
            served.open("a")
            environment = served.environment("a", 1) | {"MODULE_AUTH_TOKEN": str(tmp_path / "other")}
            with worker(self.loop, environment, tmp_path / "log") as running, pytest.raises(BenchmarkError):
                served.first_poll("a", 1.0, running.is_alive)
