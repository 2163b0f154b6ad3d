"""One measurement: a runtime and a worker of its own, a warm-up, full load, and jobs one by one."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cm_exec.cli.bench.failure import NotMeasuredError
from cm_exec.cli.bench.jobs import Ended, Jobs
from cm_exec.cli.bench.measurement import Measurement, Memory, percentile, throughput
from cm_exec.cli.bench.memory import MemoryWatch
from cm_exec.cli.bench.plan import Step
from cm_exec.cli.bench.worker import BenchWorker
from cm_exec.local_runtime import LocalRuntime

WARM_UP: Final = 0.25
"""The part of a measurement's seconds that passes before anything counts."""

_POLL: Final = 0.3
"""Seconds of a long poll. The worker waits for its open one when it ends, and jobs come all the time."""

_QUICK: Final = 0.05
"""Seconds. Jobs that take less find others waiting, so that giving them takes no time from the worker."""

_ALONE: Final = 30
_ALONE_AT_LEAST: Final = 3
"""How many jobs come one by one."""

_SHORTEST_REST: Final = 0.02
_LONGEST_REST: Final = 5.0


def patience(seconds: float) -> float:
    """How long a single job may take, in seconds, where a measurement takes `seconds`."""
    return max(30.0, 10 * seconds)


def measure(step: Step, query: bytes, seconds: float, attend: Callable[[], None]) -> Measurement:
    """Measure; what `attend` raises, which is called all the time, ends it.

    Raises NotMeasuredError when the function fails or does not end, or the worker does.
    """
    with tempfile.TemporaryDirectory(prefix="cm-exec-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        config = folder / "cm.toml"
        config.write_text(step.config, encoding="utf-8")
        with (
            LocalRuntime(folder, max_concurrent_tasks=step.slots, poll_wait=_POLL, history=100) as runtime,
            BenchWorker(runtime, config, step.slots) as worker,
        ):
            worker.wait_for_poll(attend)

            def look_around() -> None:
                attend()
                worker.check()

            jobs = Jobs(runtime, step.function.name, query, look_around)
            return _measure(step, jobs, seconds, worker.pid)


@dataclass(slots=True)
class _Load:
    """What was seen with all slots busy: the latencies of what succeeded, in `elapsed` seconds of the clock."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    elapsed: float = 0.0
    runtime_share: float = 0.0
    memory: Memory = field(default_factory=Memory)

    def note(self, ended: Ended) -> None:
        if ended.failure is None:
            self.latencies.append(ended.seconds)
        else:
            self.failures.append(ended.failure)


def _measure(step: Step, jobs: Jobs, seconds: float, worker: int) -> Measurement:
    quick = _try_out(jobs, step.slots, seconds) < _QUICK
    load = _fill(jobs, step.slots, seconds, waiting=max(2, step.slots) if quick else 0, worker=worker)
    if not load.latencies:
        raise NotMeasuredError(load.failures[0] if load.failures else f"no job ended in {patience(seconds):g} s")
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
        alone=_one_by_one(jobs, seconds, rest=1.5 * p50) if step.rests else None,
        memory=load.memory,
        runtime_share=load.runtime_share,
    )


def _try_out(jobs: Jobs, slots: int, seconds: float) -> float:
    """Run a job in each slot, so that every process has had one; the longest latency. The first failure ends it."""
    for _ in range(slots):
        jobs.submit()
    longest = 0.0
    for _ in range(slots):
        ended = _next(jobs, seconds)
        if ended.failure is not None:
            raise NotMeasuredError(ended.failure)
        longest = max(longest, ended.seconds)
    return longest


def _next(jobs: Jobs, seconds: float) -> Ended:
    """The next job that ends. Raises NotMeasuredError when none does in time."""
    ended = jobs.next(time.monotonic() + patience(seconds))
    if ended is None:
        raise NotMeasuredError(f"a job was not done within {patience(seconds):g} s; a larger --seconds waits longer")
    return ended


def _fill(jobs: Jobs, slots: int, seconds: float, *, waiting: int, worker: int) -> _Load:
    """Keep all slots busy, and `waiting` jobs behind them: for the warm-up, then for `seconds`."""
    for _ in range(slots + waiting):
        jobs.submit()
    _run(jobs, _Load(), until=time.monotonic() + WARM_UP * seconds, at_least=slots, seconds=seconds)
    load = _Load()
    with MemoryWatch(worker) as memory:
        began, used = time.monotonic(), time.process_time()
        _run(jobs, load, until=began + seconds, at_least=slots, seconds=seconds)
        load.elapsed = time.monotonic() - began
        load.runtime_share = (time.process_time() - used) / load.elapsed
    load.memory = memory.peak
    return load


def _run(jobs: Jobs, load: _Load, *, until: float, at_least: int, seconds: float) -> None:
    """Put a new job in the place of each that ends; return as one ends."""
    given_up = until + patience(seconds)
    seen = 0
    while time.monotonic() < until or seen < at_least:
        ended = jobs.next(given_up)
        if ended is None:
            return
        seen += 1
        load.note(ended)
        jobs.submit()


def _one_by_one(jobs: Jobs, seconds: float, rest: float) -> float | None:
    """The median latency of jobs that find everything at rest, the process that was started ahead too.

    None when all of them fail.
    """
    while jobs.out:
        _next(jobs, seconds)
    ended: list[Ended] = []
    end = time.monotonic() + seconds
    while len(ended) < _ALONE and (len(ended) < _ALONE_AT_LEAST or time.monotonic() < end):
        jobs.rest(min(_LONGEST_REST, max(_SHORTEST_REST, rest)))
        jobs.submit()
        ended.append(_next(jobs, seconds))
    latencies = [job.seconds for job in ended if job.failure is None]
    return percentile(latencies, 0.5) if latencies else None
