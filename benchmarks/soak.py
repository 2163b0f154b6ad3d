"""`python -m benchmarks.soak`: many jobs for persistent processes that are killed, hang and write stray lines.

No answer may reach another job, every job must be answered once, and the worker's memory and descriptors must not
grow. The exit status is 1 where any of that is not so.
"""

import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.processes import usage
from benchmarks.worker_process import worker
from cm_exec.local_runtime import Call, LocalRuntime

HANDLER: Final = Path(__file__).with_name("handlers") / "soak_loop.py"
STRAYS: Final = ("before", "behind", "at once", "a little later", "when idle", "a part")
CALLERS_A_SLOT: Final = 2
PATIENCE: Final = 120.0
"""Seconds after which a job counts as never answered."""

CONFIG: Final = """
[functions.soak]
command = {command}
mode = "persistent"
timeout = {timeout}

[launcher]
log_level = "error"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many jobs, and that one in `every` of each kind goes wrong; `timeout` of a job in seconds."""

    jobs: int
    every: int
    concurrency: int = 4
    timeout: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The worker itself at one moment: resident memory in bytes, open descriptors, and the jobs answered so far."""

    answered: int
    memory: int
    descriptors: int


@dataclass(slots=True)
class Tally:
    """What came of the jobs."""

    right: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unasked: Counter[str] = field(default_factory=Counter)
    """Errors of jobs that were told neither to hang nor to write stray lines: what killing, or a slow machine, did."""
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    killed: int = 0
    seconds: float = 0.0
    readings: list[Reading] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.right + sum(self.reasons.values()) + len(self.wrong)

    def growth(self) -> tuple[int, int]:
        """Memory in bytes and descriptors, the median of the last third less that of the second quarter."""
        early, late = (
            self.readings[len(self.readings) // 4 : len(self.readings) // 2],
            self.readings[-(len(self.readings) // 3) :],
        )
        return (
            int(statistics.median(r.memory for r in late) - statistics.median(r.memory for r in early)),
            int(statistics.median(r.descriptors for r in late) - statistics.median(r.descriptors for r in early)),
        )


def soak(plan: Plan, folder: Path) -> Tally:
    """Run the plan with a worker of its own in `folder`."""
    command = json.dumps([sys.executable, "-S", "-E", str(HANDLER)])
    config = folder / "cm.toml"
    config.write_text(CONFIG.format(command=command, timeout=plan.timeout))
    arguments = [sys.executable, "-m", "cm_exec", "run", "--config", str(config)]
    places = LocalRuntime(folder / "runtime", max_concurrent_tasks=plan.concurrency, strict=False, history=200)
    with places as runtime, worker(arguments, runtime.environment(), folder / "log") as running:
        tally = _Soak(plan, runtime, running.process.pid).run()
        tally.violations = [f"{violation.kind}: {violation.message}" for violation in runtime.violations]
    return tally


class _Soak:
    def __init__(self, plan: Plan, runtime: LocalRuntime, pid: int) -> None:
        self._plan = plan
        self._runtime = runtime
        self._pid = pid
        self._tally = Tally()
        self._numbers = iter(range(plan.jobs))
        self._lock = threading.Lock()

    def run(self) -> Tally:
        started = time.monotonic()
        with self._killer():
            callers = [threading.Thread(target=self._call) for _ in range(self._plan.concurrency * CALLERS_A_SLOT)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        self._tally.seconds = time.monotonic() - started
        return self._tally

    @contextmanager
    def _killer(self) -> Iterator[None]:
        """Kill a process at random whenever so many jobs more have been answered."""
        over = threading.Event()

        def kill() -> None:
            next_kill, next_reading = self._plan.every, 0
            while not over.wait(random.uniform(0.001, 0.01)):  # noqa: S311
                answered = self._tally.answered
                if answered >= next_kill:
                    next_kill += self._plan.every
                    self._kill_one()
                if answered >= next_reading:
                    next_reading += max(1, self._plan.jobs // 60)
                    self._read(answered)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill_one(self) -> None:
        pids = [
            pid for task in Path(f"/proc/{self._pid}/task").iterdir() for pid in (task / "children").read_text().split()
        ]
        if pids:
            with suppress(ProcessLookupError):
                os.kill(int(random.choice(pids)), signal.SIGKILL)  # noqa: S311
            self._tally.killed += 1

    def _read(self, answered: int) -> None:
        descriptors = len(list(Path(f"/proc/{self._pid}/fd").iterdir()))
        memory = usage(self._pid).resident
        self._tally.readings.append(Reading(answered=answered, memory=memory, descriptors=descriptors))

    def _call(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            query = self._query(number)
            call = self._runtime.submit("soak", json.dumps(query).encode())
            self._judge(query, call)

    def _query(self, number: int) -> dict[str, Any]:
        draw = random.randrange(self._plan.every)  # noqa: S311
        stray = random.choice(STRAYS) if draw == 0 else None  # noqa: S311
        return {"ask": f"{number} {random.random()}", "stray": stray, "hang": draw == 1}  # noqa: S311

    def _judge(self, query: dict[str, Any], call: Call) -> None:
        try:
            body = call.wait(PATIENCE).body
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            with self._lock:
                self._tally.lost.append(f"{query}: {error!r}")
            return
        with self._lock:
            self._count(query, body)

    def _count(self, query: dict[str, Any], body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        if answer == {"answer": query["ask"][::-1]} and not query["hang"]:
            self._tally.right += 1
        elif answer.get("reason"):
            self._tally.reasons[answer["reason"]] += 1
            if not query["hang"] and query["stray"] is None:
                self._tally.unasked[answer["reason"]] += 1
        else:
            self._tally.wrong.append(f"{query}: {body[:200]!r}")


def report(tally: Tally) -> Iterator[str]:
    """The tally in lines of text."""
    memory, descriptors = tally.growth()
    rate = tally.answered / tally.seconds
    yield f"{tally.answered} jobs in {tally.seconds:.0f} s ({rate:.0f} a second), {tally.killed} processes killed"
    yield f"right {tally.right}, errors {dict(tally.reasons)}, of these unasked {dict(tally.unasked)}"
    yield f"wrong {len(tally.wrong)}, never answered {len(tally.lost)}, breaches {len(tally.violations)}"
    yield from (tally.wrong + tally.lost + tally.violations)[:20]
    readings = tally.readings[:: max(1, len(tally.readings) // 12)]
    yield "MiB resident: " + " ".join(f"{reading.memory / 2**20:.1f}" for reading in readings)
    yield "descriptors:  " + " ".join(str(reading.descriptors) for reading in readings)
    yield f"growth: {memory / 2**20:+.2f} MiB, {descriptors:+d} descriptors"


def is_good(tally: Tally) -> bool:
    """Nothing wrong, nothing lost, nothing grown."""
    memory, descriptors = tally.growth()
    return not (tally.wrong or tally.lost or tally.violations) and memory < 4 * 2**20 and descriptors <= 12


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--jobs", type=click.IntRange(min=100), default=50_000, show_default=True)
@click.option("--every", type=click.IntRange(min=10), default=500, show_default=True, help="One in so many goes wrong.")
@click.option("--concurrency", type=click.IntRange(min=1), default=4, show_default=True)
def main(*, jobs: int, every: int, concurrency: int) -> None:
    """Wear persistent processes down, and see whether any answer goes astray."""
    with tempfile.TemporaryDirectory(prefix="cm-exec-soak-") as folder:
        tally = soak(Plan(jobs=jobs, every=every, concurrency=concurrency), Path(folder))
    for line in report(tally):
        click.echo(line)
    sys.exit(not is_good(tally))


if __name__ == "__main__":
    main()
