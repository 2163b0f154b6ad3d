"""`python -m benchmarks.soak`: run many jobs while handlers are killed, hang and misbehave.

Every job must be answered once, with its own answer, and the worker must not grow in memory, descriptors or processes.
The exit status is 1 otherwise.
"""

import json
import os
import random
import signal
import socket
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
from typing import Any, Final, Literal

import click

from benchmarks.processes import PROC, children, usage
from benchmarks.worker_process import worker
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import Call

Mode = Literal["persistent", "spawn", "service", "http"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one mode does on request besides a hang; benchmarks/handlers/soak_MODE.py has each fault.

    A job with one of `errors` must fail, and one with one of `faults` may. One in `every` jobs hangs, and one has a
    fault. A handler is killed for every `faults_per_kill` of these.
    """

    jobs: int
    every: int = 500
    faults_per_kill: int = 1
    concurrency: int = 4
    faults: tuple[str, ...]
    errors: tuple[str, ...] = ()
    config: str


COMMAND_CONFIG: Final = """
[functions.soak]
command = {command}
mode = "{mode}"
timeout = {timeout}
env = {{ CM_EXEC_SOAK = "{folder}" }}
"""

SERVICE_CONFIG: Final = """
[services.soak]
command = {command}
processes = 2
jobs_per_process = 16
env = {{ CM_EXEC_SOAK = "{folder}" }}

[functions.soak]
service = "soak"
timeout = {timeout}
max_output = "64KiB"
"""

HTTP_CONFIG: Final = """
[services.soak]
command = {command}
protocol = "http"
url = "http://127.0.0.1:{port}"
ready = "/ready"
env = {{ CM_EXEC_SOAK = "{folder}" }}

[functions.soak]
service = "soak"
request = "POST /{{fault}}"
inputs = {{ ask = "string", fault = "string", pad = "optional<string>" }}
returns = "struct<answer: string, pad: optional<string>>"
timeout = {timeout}
max_output = "256MiB"
"""

SETUPS: Final[dict[Mode, Setup]] = {
    "persistent": Setup(
        jobs=50_000,
        faults=("before", "behind", "at once", "a little later", "when idle", "a part"),
        config=COMMAND_CONFIG,
    ),
    "spawn": Setup(
        jobs=20_000,
        faults=("noise", "orphan", "orphan with the pipe", "early end of output"),
        errors=("half a result", "status"),
        config=COMMAND_CONFIG,
    ),
    "service": Setup(
        jobs=20_000,
        every=200,
        concurrency=32,
        faults=("twice", "twice with a pause", "log", "deaf"),
        errors=(
            "unknown id",
            "missing id",
            "half a message",
            "half a message and the end",
            "crash",
            "late",
            "late error",
            "error",
            "too much",
            "no JSON",
            "closed output",
        ),
        config=SERVICE_CONFIG,
    ),
    "http": Setup(
        jobs=20_000,
        every=100,
        faults_per_kill=10,
        concurrency=16,
        faults=(
            "close",
            "close soon",
            "reset soon",
            "interim",
            "chunked",
            "slow",
            "to the end",
            "refuse",
            "large",
        ),
        errors=("half", "garbage", "status", "exit", "no answer", "reset", "early"),
        config=HTTP_CONFIG,
    ),
}

CALLERS_PER_SLOT: Final = 2
JOB_LIMIT: Final = 120.0
"""Seconds after which a job counts as never answered."""
ROOM: Final = 4 * 2**20
"""The growth of memory that is accepted, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The number of jobs. One in `every` hangs, and one misbehaves.

    `timeout` is that of a job, in seconds; `large` is the size of a large query and result, in bytes.
    """

    jobs: int
    every: int
    mode: Mode = "persistent"
    concurrency: int = 4
    timeout: float = 1.0
    large: int = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The worker at one moment: jobs answered so far, resident bytes, open descriptors."""

    answered: int
    memory: int
    descriptors: int


@dataclass(slots=True)
class Tally:
    """The outcome of the jobs.

    `unasked` counts the errors of jobs without a fault: a kill, a slow machine, or the fault of another job in the same
    process. `twice` are the jobs whose request a server has received twice.
    """

    right: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unasked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    left_over: int = 0
    killed: int = 0
    seconds: float = 0.0
    readings: list[Reading] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.right + sum(self.reasons.values()) + len(self.wrong)

    def growth(self) -> tuple[int, int]:
        """Return the growth in bytes and descriptors: the median of the last third minus that of the second quarter."""
        early = self.readings[len(self.readings) // 4 : len(self.readings) // 2]
        late = self.readings[-(len(self.readings) // 3) :]
        return (
            int(statistics.median(r.memory for r in late) - statistics.median(r.memory for r in early)),
            int(statistics.median(r.descriptors for r in late) - statistics.median(r.descriptors for r in early)),
        )

    def is_good(self) -> bool:
        """Return whether nothing is wrong, lost, left over or grown."""
        memory, descriptors = self.growth()
        faults = (self.wrong, self.lost, self.violations, self.twice, self.left_over)
        return not any(faults) and memory < ROOM and descriptors <= 12


def soak(plan: Plan, folder: Path) -> Tally:
    """Run the plan with its own worker in `folder`."""
    handler = Path(__file__).with_name("handlers") / f"soak_{plan.mode}.py"
    command = json.dumps([sys.executable, "-S", "-E", str(handler)])
    port, ledger = _free_port(), folder / "received"
    if plan.mode == "http":
        command = json.dumps([sys.executable, "-S", "-E", str(handler), str(port), str(ledger)])
    config = folder / "cm.toml"
    text = SETUPS[plan.mode].config.format(
        command=command, mode=plan.mode, timeout=plan.timeout, folder=folder, port=port
    )
    config.write_text(text + '\n[launcher]\nlog_level = "error"\n')
    arguments = [sys.executable, "-m", "cm_exec", "run", "--config", str(config)]
    local = LocalRuntime(folder / "runtime", max_concurrent_tasks=plan.concurrency, strict=False, history=200)
    with local as runtime, worker(arguments, runtime.environment(), folder / "log") as running:
        tally = _Soak(plan, runtime, running.process.pid).run()
        tally.violations = [f"{violation.kind}: {violation.message}" for violation in runtime.violations]
    tally.left_over = len(list(_processes_of(folder)))
    if ledger.exists():
        received = Counter(ledger.read_text().split())
        tally.twice = [job_id for job_id, times in received.items() if times > 1]
    return tally


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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
        with self._disturbed():
            callers = [threading.Thread(target=self._call) for _ in range(self._plan.concurrency * CALLERS_PER_SLOT)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        self._tally.seconds = time.monotonic() - started
        return self._tally

    @contextmanager
    def _disturbed(self) -> Iterator[None]:
        """Kill a random handler again and again, and take readings, until the end of the block."""
        kill_every = self._plan.every * SETUPS[self._plan.mode].faults_per_kill
        over = threading.Event()

        def disturb() -> None:
            next_kill, next_reading = kill_every, 0
            while not over.wait(random.uniform(0.001, 0.01)):  # noqa: S311
                answered = self._tally.answered
                if answered >= next_kill:
                    next_kill += kill_every
                    self._kill_one()
                if answered >= next_reading:
                    next_reading += max(1, self._plan.jobs // 60)
                    self._read(answered)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill_one(self) -> None:
        handlers = children(self._pid)
        if handlers:
            with suppress(ProcessLookupError):
                os.kill(random.choice(handlers), signal.SIGKILL)  # noqa: S311
            self._tally.killed += 1

    def _read(self, answered: int) -> None:
        descriptors = len(list((PROC / str(self._pid) / "fd").iterdir()))
        memory = usage(self._pid).resident
        self._tally.readings.append(Reading(answered=answered, memory=memory, descriptors=descriptors))

    def _call(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            query = self._query(number)
            self._judge(query, self._runtime.submit("soak", json.dumps(query).encode()))

    def _query(self, number: int) -> dict[str, Any]:
        setup = SETUPS[self._plan.mode]
        draw = random.randrange(self._plan.every)  # noqa: S311
        fault = {0: random.choice(setup.faults + setup.errors), 1: "hang"}.get(draw, "none")  # noqa: S311
        query = {"ask": f"{number} {random.random()}", "fault": fault}  # noqa: S311
        return {**query, "pad": "x" * self._plan.large} if fault == "large" else query

    def _judge(self, query: dict[str, Any], call: Call) -> None:
        try:
            body = call.wait(JOB_LIMIT).body
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            with self._lock:
                self._tally.lost.append(f"{_short(query)}: {error!r}")
            return
        with self._lock:
            self._count(query, call.job_id, body)

    def _count(self, query: dict[str, Any], job_id: str, body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        must_fail = query["fault"] in ("hang", *SETUPS[self._plan.mode].errors)
        is_own = answer.get("answer") == query["ask"][::-1] and answer.get("pad") == query.get("pad")
        if is_own and not must_fail:
            self._tally.right += 1
        elif answer.get("reason") and answer["jobId"] == job_id:
            self._tally.reasons[answer["reason"]] += 1
            if query["fault"] == "none":
                self._tally.unasked[answer["reason"]] += 1
        else:
            self._tally.wrong.append(f"{_short(query)}: {body[:200]!r}")


def _short(query: dict[str, Any]) -> str:
    return f"{query['ask']} ({query['fault']})"


def _processes_of(folder: Path) -> Iterator[int]:
    """Yield the handlers of the worker in `folder` and their children, which have its path in their environment."""
    mark = f"CM_EXEC_SOAK={folder}\0".encode()
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                yield int(process.name)


def report(tally: Tally) -> Iterator[str]:
    """Yield the tally as lines of text."""
    memory, descriptors = tally.growth()
    rate = tally.answered / tally.seconds
    yield f"{tally.answered} jobs in {tally.seconds:.0f} s ({rate:.0f} per second), {tally.killed} handlers killed"
    yield f"right {tally.right}, errors {dict(tally.reasons)}, of these without a fault {dict(tally.unasked)}"
    yield f"wrong {len(tally.wrong)}, never answered {len(tally.lost)}, protocol violations {len(tally.violations)}"
    if tally.twice:
        yield f"received twice by the server: {len(tally.twice)}"
    yield from (tally.wrong + tally.lost + tally.violations)[:20]
    readings = tally.readings[:: max(1, len(tally.readings) // 12)]
    yield "MiB resident: " + " ".join(f"{reading.memory / 2**20:.1f}" for reading in readings)
    yield "descriptors:  " + " ".join(str(reading.descriptors) for reading in readings)
    yield f"growth: {memory / 2**20:+.2f} MiB, {descriptors:+d} descriptors; processes left over: {tally.left_over}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--mode", type=click.Choice(list(SETUPS)), default="persistent", show_default=True)
@click.option("--jobs", type=click.IntRange(min=100), help="The number of jobs; default: 50000 persistent, else 20000.")
@click.option("--every", type=click.IntRange(min=10), help="Jobs per fault; default: 500, service 200, http 100.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at a time; default: 4, service 32, http 16.")
def main(*, mode: Mode, jobs: int | None, every: int | None, concurrency: int | None) -> None:
    """Run many jobs while handlers are killed, hang and misbehave, and check every answer."""
    setup = SETUPS[mode]
    plan = Plan(
        jobs=jobs or setup.jobs,
        every=every or setup.every,
        mode=mode,
        concurrency=concurrency or setup.concurrency,
    )
    with tempfile.TemporaryDirectory(prefix="cm-exec-soak-") as folder:
        tally = soak(plan, Path(folder))
    for line in report(tally):
        click.echo(line)
    sys.exit(not tally.is_good())


if __name__ == "__main__":
    main()
