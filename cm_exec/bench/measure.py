"""The measurement of one step: with a runtime and a worker of its own, a warm-up, full load, then jobs one by one."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cm_exec.bench.plan import PlanStep
from cm_exec.bench.worker import BenchJobs, BenchWorker, CompletedJob, MeasurementError, Memory, MemoryWatch
from cm_exec.config import Mode
from cm_exec.local_runtime import LocalRuntime

_BUSY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One function in one mode with one number of slots.

    Latencies are in seconds, from the hand-out of a job to its answer, with every slot busy. `unloaded_p50` is the
    median latency of jobs that came one by one, with pauses between them; None if that was not measured. `failed`
    counts jobs that no other number includes; `failure` is the message of the first. `runtime_share` is the share
    of one core that the local runtime used.
    """

    function: str
    mode: Mode
    slots: int
    jobs: int
    failed: int
    failure: str | None
    p50: float
    p90: float
    p99: float
    jobs_per_second: float
    unloaded_p50: float | None
    memory: Memory
    runtime_share: float

    @property
    def runtime_was_busy(self) -> bool:
        """Report whether the local runtime was so busy that it may have limited the function."""
        return self.runtime_share > _BUSY

    @property
    def slot_time(self) -> float:
        """Return the average seconds that one job occupies a slot: Little's law, with all slots busy."""
        return self.slots / self.jobs_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedMeasurement:
    """A step that failed, and the reason."""

    function: str
    mode: Mode
    slots: int
    why: str


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed.

    With few values a high percentile is therefore the maximum. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def throughput(latencies: Sequence[float], elapsed: float, slots: int) -> float:
    """Return the jobs per second, for jobs that ended within `elapsed` seconds of full load.

    By Little's law this is at most `slots` over the mean latency. The plain count would be too high for few, long
    jobs: most of their time may lie before the count began.
    """
    most = slots * len(latencies) / sum(latencies)
    return min(len(latencies) / elapsed, most) if elapsed > 0 else most


WARM_UP: Final = 0.25
"""The share of a measurement's seconds that passes before anything counts."""

_POLL: Final = 0.3
"""Seconds of a long poll: the worker waits for its open poll when it stops, and here jobs always come soon."""

_QUICK: Final = 0.05
"""Seconds. Faster jobs find others waiting in the worker, so that handing them out costs the worker no time."""

_UNLOADED_JOBS: Final = 30
_LEAST_UNLOADED_JOBS: Final = 3

_SHORTEST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 5.0


def job_timeout(seconds: float) -> float:
    """Return how many seconds a single job may take if a measurement takes `seconds`."""
    return max(30.0, 10 * seconds)


def measure(step: PlanStep, query: bytes, seconds: float, on_tick: Callable[[], None]) -> Measurement:
    """Measure one step. `on_tick` is called all the time; what it raises ends the measurement.

    Raises MeasurementError if the function fails or does not end, or if the worker ends.
    """
    with tempfile.TemporaryDirectory(prefix="cm-exec-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "cm.toml").write_text(step.config, encoding="utf-8")
        with (
            LocalRuntime(folder, max_concurrent_tasks=step.slots, poll_wait=_POLL, history=100) as runtime,
            BenchWorker(runtime, folder, step.slots) as worker,
        ):
            worker.wait_for_poll(on_tick)

            def check() -> None:
                on_tick()
                worker.check()

            jobs = BenchJobs(runtime, step.function.name, query, check)
            quick = _run_one_per_slot(jobs, step.slots, seconds) < _QUICK
            load = _run_full_load(jobs, step.slots, seconds, waiting=max(2, step.slots) if quick else 0, pid=worker.pid)
            if not load.latencies:
                why = load.failures[0] if load.failures else f"no job ended within {job_timeout(seconds):g} s"
                raise MeasurementError(why)
            p50 = percentile(load.latencies, 0.5)
            return Measurement(
                function=step.function.name,
                mode=step.mode,
                slots=step.slots,
                jobs=len(load.latencies),
                failed=len(load.failures),
                failure=load.failures[0] if load.failures else None,
                p50=p50,
                p90=percentile(load.latencies, 0.9),
                p99=percentile(load.latencies, 0.99),
                jobs_per_second=throughput(load.latencies, load.elapsed, step.slots),
                unloaded_p50=_run_one_by_one(jobs, seconds, pause=1.5 * p50) if step.unloaded else None,
                memory=load.memory,
                runtime_share=load.runtime_share,
            )


@dataclass(slots=True)
class _Load:
    """What happened with all slots busy, in `elapsed` seconds: latencies of successful jobs, and failures."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    elapsed: float = 0.0
    runtime_share: float = 0.0
    memory: Memory = field(default_factory=Memory)


def _run_one_per_slot(jobs: BenchJobs, slots: int, seconds: float) -> float:
    """Run a job in each slot, so that every process has had one, and return the longest latency."""
    for _ in range(slots):
        jobs.submit()
    longest = 0.0
    for _ in range(slots):
        completed = _next(jobs, seconds)
        if completed.failure is not None:
            raise MeasurementError(completed.failure)
        longest = max(longest, completed.seconds)
    return longest


def _next(jobs: BenchJobs, seconds: float) -> CompletedJob:
    """Return the next job that ends. Raises MeasurementError if none ends in time."""
    completed = jobs.next(time.monotonic() + job_timeout(seconds))
    if completed is None:
        raise MeasurementError(f"a job took longer than {job_timeout(seconds):g} s; a larger --seconds allows more")
    return completed


def _run_full_load(jobs: BenchJobs, slots: int, seconds: float, *, waiting: int, pid: int) -> _Load:
    """Keep all slots busy and `waiting` jobs behind them: for the warm-up, then for `seconds`."""
    for _ in range(slots + waiting):
        jobs.submit()
    _replace_jobs(jobs, _Load(), until=time.monotonic() + WARM_UP * seconds, at_least=slots, seconds=seconds)
    load = _Load()
    with MemoryWatch(pid) as memory:
        began, used = time.monotonic(), time.process_time()
        _replace_jobs(jobs, load, until=began + seconds, at_least=slots, seconds=seconds)
        load.elapsed = time.monotonic() - began
        load.runtime_share = (time.process_time() - used) / load.elapsed
    load.memory = memory.peak
    return load


def _replace_jobs(jobs: BenchJobs, load: _Load, *, until: float, at_least: int, seconds: float) -> None:
    """Submit a new job for each that ends; return when one ends after `until`."""
    deadline = until + job_timeout(seconds)
    seen = 0
    while time.monotonic() < until or seen < at_least:
        completed = jobs.next(deadline)
        if completed is None:
            return
        seen += 1
        if completed.failure is None:
            load.latencies.append(completed.seconds)
        else:
            load.failures.append(completed.failure)
        jobs.submit()


def _run_one_by_one(jobs: BenchJobs, seconds: float, pause: float) -> float | None:
    """Return the median latency of jobs that find everything idle, also the process that was started ahead.

    Returns None if all of them fail.
    """
    while jobs.outstanding:
        _next(jobs, seconds)
    completed: list[CompletedJob] = []
    end = time.monotonic() + seconds
    while len(completed) < _UNLOADED_JOBS and (len(completed) < _LEAST_UNLOADED_JOBS or time.monotonic() < end):
        jobs.idle(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, pause)))
        jobs.submit()
        completed.append(_next(jobs, seconds))
    latencies = [job.seconds for job in completed if job.failure is None]
    return percentile(latencies, 0.5) if latencies else None
