"""What the numbers speak for: which mode, how many slots, how many replicas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cm_exec.bench.measurement import Measurement
from cm_exec.cli.words import bytes_text, count_text, duration_text, rate_text
from cm_exec.config.types import Mode

USE: Final = 0.7
"""The share of its slots' time that a replica should be busy on average: above it, jobs queue at every ripple."""

_CLEARLY: Final = 0.7
_AT_LEAST: Final = 0.002
"""Another mode is worth it where a job takes this share of its time, and this many seconds less."""

_NEARLY: Final = 0.9
"""More slots are worth it where fewer do less than this share of the jobs."""

_STILL_GROWS: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """How many replicas bear `rate` jobs per second, with `busy` slots busy on average."""

    rate: float
    busy: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """For one function. `safe_rate` is what one such replica bears, in jobs per second, with its slots in use USE.

    `sentences` are for people.
    """

    function: str
    mode: Mode
    slots: int
    safe_rate: float
    replicas: Replicas | None
    sentences: tuple[str, ...]


def advise(measured: Sequence[Measurement], rate: float | None = None) -> Advice:
    """Advice from the measurements, at least one, of one function; `rate` in jobs per second."""
    mode, why_mode = _choose_mode(measured)
    candidates = sorted((m for m in measured if m.mode == mode), key=lambda m: m.slots)
    chosen, why_slots = _choose_slots(candidates)
    replicas = None if rate is None else _replicas(chosen, rate)
    return Advice(
        function=chosen.function,
        mode=mode,
        slots=chosen.slots,
        safe_rate=USE * chosen.jobs_per_second,
        replicas=replicas,
        sentences=(*why_mode, why_slots, _capacity(chosen, replicas)),
    )


def _choose_mode(measured: Sequence[Measurement]) -> tuple[Mode, list[str]]:
    alone = {m.mode: m.alone for m in measured if m.alone is not None}
    spawn, prespawn = alone.get("spawn"), alone.get("prespawn")
    if spawn is None or prespawn is None:
        mode = measured[0].mode
        only = "the handler is a loop, and so can have no other" if mode == "persistent" else "no other was measured"
        return mode, [f'mode = "{mode}": {only}']
    if prespawn > _CLEARLY * spawn or spawn - prespawn < _AT_LEAST:
        times = f"{duration_text(prespawn)} in place of {duration_text(spawn)}"
        return "spawn", [f'mode = "spawn": a process that is started ahead saves little: {times}']
    times = f"{duration_text(prespawn)} in place of {duration_text(spawn)}"
    saved = f"under full load each start still costs its {duration_text(spawn - prespawn)}"
    return "prespawn", [
        f'mode = "prespawn": a job that finds the module at rest takes {times}',
        f'{saved}; a loop in the handler, with mode = "persistent", would pay it once a process',
    ]


def _choose_slots(candidates: Sequence[Measurement]) -> tuple[Measurement, str]:
    """The fewest slots that do nearly as much as the best; `candidates` are of one mode, the fewest slots first."""
    best = max(candidates, key=lambda m: m.jobs_per_second)
    chosen = next(m for m in candidates if m.jobs_per_second >= _NEARLY * best.jobs_per_second)
    said = f"concurrency = {chosen.slots}"
    if len(candidates) > 1 and best.runtime_was_busy:
        return chosen, f"{said}: the local runtime was the limit, so that this does not tell how many are best"
    if len(candidates) == 1:
        return chosen, f"{said}: no other was measured"
    least, most = candidates[0], candidates[-1]
    if chosen is most:
        growth = (
            f"{rate_text(chosen.jobs_per_second)} jobs/s, where {least.slots} did {rate_text(least.jobs_per_second)}"
        )
        more = chosen.jobs_per_second > _STILL_GROWS * candidates[-2].jobs_per_second
        hint = f"; more may do more: --concurrency {chosen.slots},{chosen.slots * 2}" if more else ""
        return chosen, f"{said}: {growth}{hint}"
    change = most.jobs_per_second / chosen.jobs_per_second - 1
    slower = f"p99 is {duration_text(most.p99)} in place of {duration_text(chosen.p99)}"
    return chosen, f"{said}: with {most.slots}, jobs/s change by {change:+.0%}, and {slower}"


def _replicas(chosen: Measurement, rate: float) -> Replicas:
    busy = rate * chosen.slot_time
    needed = round(busy / USE / chosen.slots, 9)  # 0.7 has no exact binary fraction
    return Replicas(rate=rate, busy=busy, replicas=max(1, math.ceil(needed)))


def _capacity(chosen: Measurement, replicas: Replicas | None) -> str:
    if replicas is None:
        safe = f"{'at least' if chosen.runtime_was_busy else 'about'} {rate_text(USE * chosen.jobs_per_second)}"
        return f"a replica of {_size(chosen)} bears {safe} jobs/s with its slots busy {USE:.0%} of the time"
    rate = rate_text(replicas.rate)
    law = f"{rate} jobs/s x {duration_text(chosen.slot_time)} in a slot = {rate_text(replicas.busy)} slots busy"
    return (
        f"for {rate} jobs/s: {count_text(replicas.replicas, 'replica')} of {_size(chosen)}. "
        f"Little's law: {law} on average, where at most {USE:.0%} of all slots should be"
    )


def _size(chosen: Measurement) -> str:
    sizes = [size for size in (chosen.memory.worker, chosen.memory.handlers) if size is not None]
    memory = f" and about {bytes_text(sum(sizes))} of memory" if sizes else ""
    return count_text(chosen.slots, "slot") + memory
