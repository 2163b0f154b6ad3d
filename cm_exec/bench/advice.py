"""Advice from the measurements: which mode, how many slots, how many replicas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cm_exec.bench.measurement import Measurement
from cm_exec.config.model import Mode
from cm_exec.text import count_text, duration_text, size_text, three_digits

USE: Final = 0.7
"""The share of time that slots should be busy on average: above it, every ripple makes jobs wait."""

_CLEARLY_FASTER: Final = 0.7
_LEAST_SAVING: Final = 0.002
"""Another mode pays off if a job takes this share of its time, and this many seconds less."""

_NEARLY_BEST: Final = 0.9
"""More slots pay off if fewer handle less than this share of the jobs."""

_STILL_GROWS: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The replicas needed for `rate` jobs per second, and the slots that are then `busy` on average."""

    rate: float
    busy: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Advice for one function.

    `safe_rate` is the number of jobs per second that one such replica handles with its slots busy for the share
    USE of the time. `sentences` are for people.
    """

    function: str
    mode: Mode
    slots: int
    safe_rate: float
    replicas: Replicas | None
    sentences: tuple[str, ...]


def advise(measured: Sequence[Measurement], rate: float | None = None) -> Advice:
    """Derive advice from the measurements, at least one, of one function; `rate` is in jobs per second."""
    mode, why_mode = _choose_mode(measured)
    candidates = sorted((m for m in measured if m.mode == mode), key=lambda m: m.slots)
    best = max(candidates, key=lambda m: m.jobs_per_second)
    chosen = next(m for m in candidates if m.jobs_per_second >= _NEARLY_BEST * best.jobs_per_second)
    slots = f"concurrency = {chosen.slots}"
    if len(candidates) > 1 and best.runtime_was_busy:
        slots += ": the local runtime was the bottleneck, so the best value is unknown"
    elif len(candidates) > 1 and chosen.jobs_per_second > _STILL_GROWS * candidates[-2].jobs_per_second:
        slots += f"; try more: --concurrency {chosen.slots},{chosen.slots * 2}"
    replicas = None if rate is None else _replicas(chosen, rate)
    return Advice(
        function=chosen.function,
        mode=mode,
        slots=chosen.slots,
        safe_rate=USE * chosen.jobs_per_second,
        replicas=replicas,
        sentences=(*why_mode, slots, _capacity(chosen, replicas)),
    )


def _choose_mode(measured: Sequence[Measurement]) -> tuple[Mode, list[str]]:
    unloaded = {m.mode: m.unloaded_p50 for m in measured if m.unloaded_p50 is not None}
    spawn, prespawn = unloaded.get("spawn"), unloaded.get("prespawn")
    if spawn is None or prespawn is None:
        return measured[0].mode, []
    if prespawn > _CLEARLY_FASTER * spawn or spawn - prespawn < _LEAST_SAVING:
        times = f"{duration_text(prespawn)} instead of {duration_text(spawn)}"
        return "spawn", [f'mode = "spawn": starting a process ahead saves little: {times}']
    times = f"from {duration_text(spawn)} to {duration_text(prespawn)}"
    start = duration_text(spawn - prespawn)
    return "prespawn", [
        f'mode = "prespawn": latency of an idle module drops {times}',
        f'under full load each job still pays {start} for its process; mode = "persistent" pays it once per process',
    ]


def _replicas(chosen: Measurement, rate: float) -> Replicas:
    busy = rate * chosen.slot_time
    needed = round(busy / USE / chosen.slots, 9)  # 0.7 has no exact binary fraction
    return Replicas(rate=rate, busy=busy, replicas=max(1, math.ceil(needed)))


def _capacity(chosen: Measurement, replicas: Replicas | None) -> str:
    sizes = [size for size in (chosen.memory.worker, chosen.memory.handlers) if size is not None]
    memory = f" and about {size_text(sum(sizes))} of memory" if sizes else ""
    size = count_text(chosen.slots, "slot") + memory
    if replicas is None:
        rate = f"{'at least' if chosen.runtime_was_busy else 'about'} {three_digits(USE * chosen.jobs_per_second)}"
        return f"a replica of {size} handles {rate} jobs/s with its slots busy {USE:.0%} of the time"
    rate = three_digits(replicas.rate)
    law = f"{rate} jobs/s x {duration_text(chosen.slot_time)} in a slot = {three_digits(replicas.busy)} slots busy"
    return (
        f"for {rate} jobs/s: {count_text(replicas.replicas, 'replica')} of {size}. "
        f"Little's law: {law} on average, and at most {USE:.0%} of all slots should be"
    )
