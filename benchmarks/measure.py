"""The measurements of a run: each case, round by round, each row in turn."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.case import Case
from benchmarks.payload import Payload
from benchmarks.processes import MachineClock
from benchmarks.rows import FORK_FLOOR, Row, fork_floor_command
from benchmarks.runtime_process import BenchmarkError, Measurement, RuntimeProcess
from benchmarks.sample import Sample
from benchmarks.statistics import percentile
from benchmarks.worker_process import CONTAINER, WorkerProcess, worker

START: Final = 60.0
"""Seconds that a worker has for its first poll."""

DISTURBED: Final = 0.1
"""The share of the machine that others may use; above it a measurement counts as disturbed."""

OBSERVATION: Final = 0.5
"""Seconds of observation that decide whether the machine is idle."""


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that failed in a case and is not measured again in it."""

    row: str
    case: Case
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleUsage:
    """The usage of a worker without jobs: a share of a core, and its PSS in bytes."""

    row: str
    cpu: float
    memory: int


class BenchmarkRun:
    """Measures rows against one runtime, and calls `progress` with each result.

    `max_wait` is the number of seconds that may be spent in all on waiting for an idle machine, and on repeating
    disturbed measurements.
    """

    def __init__(
        self, runtime: RuntimeProcess, folder: Path, progress: Callable[[str], None], max_wait: float = 0.0
    ) -> None:
        self._runtime = runtime
        self._folder = folder
        self._progress = progress
        self._max_wait = max_wait
        self._lanes = 0
        self.samples: list[Sample] = []
        self.failures: list[FailedRow] = []

    def run(self, case: Case, rows: Sequence[Row]) -> None:
        """Measure all rows of a case in each round, each time starting with another row."""
        self._progress(case.title if rows else f"{case.title}: no row can be measured")
        payload = Payload(case.size, case.kind)
        for number in range(case.rounds):
            shift = number % max(1, len(rows))
            for row in [*rows[shift:], *rows[:shift]]:
                if not any(failed.row == row.key and failed.case == case for failed in self.failures):
                    self._one(case, payload, row, number)

    def _one(self, case: Case, payload: Payload, row: Row, number: int) -> None:
        try:
            sample = self._undisturbed(case, payload, row, number)
        except BenchmarkError as error:
            self.failures.append(FailedRow(row.key, case, str(error)))
            self._progress(f"  {row.name:26} failed: {error}")
            return
        self.samples.append(sample)
        wrong = f", {sample.wrong} WRONG" if sample.wrong else ""
        self._progress(f"  {row.name:26} {sample.jobs_per_second:9.1f} jobs/s, p50 {sample.p50 * 1000:9.3f} ms{wrong}")

    def _undisturbed(self, case: Case, payload: Payload, row: Row, number: int) -> Sample:
        while True:
            self._wait_for_idle_machine()
            began = time.monotonic()
            if row.key == FORK_FLOOR:
                sample = self._fork_floor(case, row, number)
            else:
                sample = self._worker(case, payload, row, number)
            if sample.other_load <= DISTURBED or self._max_wait <= 0:
                return sample
            self._max_wait -= time.monotonic() - began

    def _wait_for_idle_machine(self) -> None:
        while self._max_wait > 0:
            before = MachineClock.read()
            time.sleep(OBSERVATION)
            if before.other_load(MachineClock.read(), 0.0) <= DISTURBED:
                return
            self._max_wait -= OBSERVATION

    def _worker(self, case: Case, payload: Payload, row: Row, number: int) -> Sample:
        lane = self._new_lane()
        environment = self._runtime.environment(lane, case.concurrency) | dict(row.environment)
        with worker(row.command, environment, self._folder / "worker.log") as running:
            try:
                polled = self._runtime.first_poll(lane, START, running.is_alive) - running.started
                before, ours = MachineClock.read(), self._used()
                own_before = running.usage().cpu
                measurement = self._load(lane, payload, running, case)
                used = running.usage()
                after, ours = MachineClock.read(), self._used() - ours
            except BenchmarkError as error:
                raise BenchmarkError(f"{error}; its log ends: {running.log_tail() or '(empty)'}") from error
            finally:
                self._runtime.close(lane)
        worker_cpu = used.cpu - own_before
        return _sample(
            case,
            row,
            number,
            measurement,
            first_poll=polled,
            worker_cpu=worker_cpu / (case.warmup + len(measurement.latencies)),
            memory=used.proportional,
            other_load=before.other_load(after, worker_cpu + ours),
        )

    def _used(self) -> float:
        """Return the CPU time of the runtime and this program, which belong to the benchmark."""
        return self._runtime.cpu + time.process_time()

    def _load(self, lane: str, payload: Payload, running: WorkerProcess, case: Case) -> Measurement:
        return self._runtime.load(
            lane,
            payload,
            running.is_alive,
            in_progress=case.concurrency,
            warmup=case.warmup,
            min_jobs=case.min_jobs,
            seconds=case.seconds,
            pause=case.pause,
        )

    def _fork_floor(self, case: Case, row: Row, number: int) -> Sample:
        seconds = case.seconds or 1.0
        command = fork_floor_command(row, concurrency=case.concurrency, seconds=seconds, size=case.size)
        before = MachineClock.read()
        done = subprocess.run(command, capture_output=True, env=CONTAINER, check=False)
        if done.returncode:
            raise BenchmarkError(done.stderr.decode(errors="replace") or "the command did not return its query")
        measured = json.loads(done.stdout)
        measurement = Measurement(
            latencies=tuple(sorted(ns / 1e9 for ns in measured["latencies"])),
            elapsed=(measured["ended"] - measured["started"]) / 1e9,
            wrong=0,
            runtime_cpu=0.0,
        )
        return _sample(
            case, row, number, measurement, other_load=before.other_load(MachineClock.read(), measured["cpu"])
        )

    def ceiling(self, row: Row, size: int, clients: int = 3) -> Measurement:
        """Measure the runtime itself, with enough bare clients to keep it busy."""
        lane = self._new_lane()
        environment = self._runtime.environment(lane, 8)
        with contextlib.ExitStack() as clients_running:
            clients_running.callback(self._runtime.close, lane)
            logs = (self._folder / f"client-{n}.log" for n in range(clients))
            running = [clients_running.enter_context(worker(row.command, environment, log)) for log in logs]

            def all_alive() -> bool:
                return all(client.is_alive() for client in running)

            self._runtime.first_poll(lane, START, all_alive)
            return self._runtime.load(
                lane, Payload(size), all_alive, in_progress=8 * clients, warmup=20 * clients, min_jobs=50, seconds=2.0
            )

    def idle(self, rows: Sequence[Row], concurrency: int, seconds: float) -> list[IdleUsage]:
        """Measure workers that wait for jobs, one after another, after a hundred jobs each."""
        return [self._idle(row, concurrency, seconds) for row in rows if row.key != FORK_FLOOR]

    def _idle(self, row: Row, concurrency: int, seconds: float) -> IdleUsage:
        lane = self._new_lane()
        environment = self._runtime.environment(lane, concurrency) | dict(row.environment)
        with worker(row.command, environment, self._folder / "worker.log") as running:
            self._runtime.first_poll(lane, START, running.is_alive)
            self._runtime.load(
                lane, Payload(64), running.is_alive, in_progress=concurrency, warmup=0, min_jobs=100, seconds=0
            )
            time.sleep(1.0)
            before, began = running.usage(), time.monotonic()
            time.sleep(seconds)
            after = running.usage()
            share = (after.cpu - before.cpu) / (time.monotonic() - began)
            self._runtime.close(lane)
        self._progress(f"  {row.name:26} idle: {share:.2%} of a core, {after.proportional / 2**20:.1f} MiB")
        return IdleUsage(row=row.key, cpu=share, memory=after.proportional)

    def _new_lane(self) -> str:
        self._lanes += 1
        lane = f"lane-{self._lanes}"
        self._runtime.open(lane)
        return lane


def _sample(
    case: Case,
    row: Row,
    number: int,
    measurement: Measurement,
    *,
    other_load: float,
    first_poll: float | None = None,
    worker_cpu: float | None = None,
    memory: int | None = None,
) -> Sample:
    return Sample(
        row=row.key,
        case=case,
        round=number,
        jobs=len(measurement.latencies),
        wrong=measurement.wrong,
        jobs_per_second=measurement.jobs_per_second,
        p50=percentile(measurement.latencies, 0.5),
        p90=percentile(measurement.latencies, 0.9),
        p99=percentile(measurement.latencies, 0.99),
        other_load=other_load,
        first_poll=first_poll,
        worker_cpu=worker_cpu,
        memory=memory,
        runtime_busy=None if row.key == FORK_FLOOR else measurement.runtime_cpu / measurement.elapsed,
    )
