"""The plan of a run, and the measurement of each of its steps.

The plan is each function in each mode that it can have, with each number of slots. A step has a runtime and a worker of
its own: a warm-up, full load, then jobs one by one.
"""

import math
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cm_exec.bench.worker import BenchJobs, BenchWorker, CompletedJob, MeasurementError, Memory, MemoryWatch
from cm_exec.config import Config, Function, Mode
from cm_exec.config.checks import applicable_defaults
from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.handlers.factory import concurrency_limits
from cm_exec.local_runtime import LocalRuntime
from cm_exec.text import toml_value

_KEPT_LAUNCHER_KEYS: Final = ("log_format", "log_level")
"""The [launcher] keys that affect speed. The others concern the platform, or are what a run varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One measurement. `function` has the mode to measure, and `config` is the text of its cm.toml.

    If `unloaded` is set, the step also measures jobs that come one by one, with pauses between them.
    """

    function: Function
    config: str
    slots: int
    unloaded: bool

    @property
    def mode(self) -> Mode:
        """Return the mode to measure."""
        return self.function.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """The steps in order, and a sentence for each thing that is not measured."""

    steps: tuple[PlanStep, ...]
    notes: tuple[str, ...]


def make_plan(
    config: Config,
    document: Mapping[str, Any],
    *,
    functions: Sequence[Function],
    modes: Collection[Mode],
    slots: Sequence[int],
) -> BenchPlan:
    """Plan the measurement of these functions of `config`, whose TOML is `document`; empty `modes` means all."""
    steps: list[PlanStep] = []
    notes: list[str] = []
    for function in functions:
        # a loop over queries cannot serve a single one, nor the other way round
        possible: tuple[Mode, ...] = ("persistent",) if function.mode == "persistent" else ("spawn", "prespawn")
        notes += [_not_possible(function, mode) for mode in modes if mode not in possible]
        for mode in possible:
            if modes and mode not in modes:
                continue
            text = variant_text(document, function, mode)
            try:
                variant = parse_config(text, path=config.path).functions[function.name]
            except ConfigError as error:
                notes.append(f"{function.name}: cannot be measured in mode {mode}: {error.problems[0]}")
                continue
            counts, note = _slot_counts(variant, slots)
            steps += [
                PlanStep(function=variant, config=text, slots=count, unloaded=count == counts[0]) for count in counts
            ]
            notes += [note] if note and note not in notes else []
    return BenchPlan(steps=tuple(steps), notes=tuple(notes))


def _not_possible(function: Function, mode: Mode) -> str:
    if mode == "persistent":
        why = "it needs a handler that loops over queries, declared as persistent"
    else:
        why = "the handler is declared as persistent: it loops over queries"
    return f"{function.name}: not measured in mode {mode}: {why}"


def variant_text(document: Mapping[str, Any], function: Function, mode: Mode) -> str:
    """Return the text of a cm.toml with `function` alone, in `mode`, and with its service.

    `document` is the user's file as parsed TOML. Types and defaults are copied; options of modes that are not
    measured are left out. `cwd` becomes absolute, since the text is written to another folder.
    """
    entry = document["functions"][function.name]
    own = {"command": entry} if isinstance(entry, str | list) else entry
    services = {}
    if "service" in own:
        # several functions imply the envelope, and here there is one
        kept = {"envelope": True} if function.service and function.service.envelope else {}
        service = {**document["services"][own["service"]], **kept}
        if function.command is not None:
            service["cwd"] = str(function.cwd)
        services[own["service"]] = service
    else:
        applicable = applicable_defaults(own, {"mode": mode, "command": function.command})
        own = {**applicable, "mode": mode, "cwd": str(function.cwd)}
    launcher = {key: value for key, value in document.get("launcher", {}).items() if key in _KEPT_LAUNCHER_KEYS}
    shared = {key: document[key] for key in ("defaults", "types") if key in document}
    tables = {"functions": {function.name: own}, "services": services, "launcher": launcher, **shared}
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in tables.items())


def _slot_counts(function: Function, slots: Sequence[int]) -> tuple[list[int], str]:
    """Return the numbers of slots that the function can use, and a note if these are fewer than requested."""
    limit = concurrency_limits([function]).get(function.name)
    if limit is None or limit >= max(slots):
        return list(slots), ""
    counts = sorted({min(count, limit) for count in slots})
    return counts, f"{function.name}: its table in cm.toml limits it to {limit} concurrent jobs"


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
