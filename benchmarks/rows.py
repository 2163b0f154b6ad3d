"""The rows of the tables: what is measured side by side, and how each is started."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from benchmarks.case import TASKS, Task
from benchmarks.installs import ROOT, Installed

_WORKERS: Final = ROOT / "benchmarks" / "workers"
_HANDLERS: Final = ROOT / "benchmarks" / "handlers"

Family = Literal["cm-exec", "official", "floor"]

SPAWN: Final = "spawn"
PRESPAWN: Final = "prespawn"
PERSISTENT: Final = "persistent"
SDK_PROCESSES: Final = "sdk-processes"
SDK_THREADS: Final = "sdk-threads"
SDK_NODE: Final = "sdk-node"
FORK_FLOOR: Final = "fork-floor"
TLS_FLOOR: Final = "tls-floor"

NAMES: Final = {
    SPAWN: "cm-exec, spawn",
    PRESPAWN: "cm-exec, prespawn",
    PERSISTENT: "cm-exec, persistent",
    SDK_PROCESSES: "Python SDK, processes",
    SDK_THREADS: "Python SDK, threads",
    SDK_NODE: "TypeScript SDK",
    FORK_FLOOR: "floor: fork and exec only",
    TLS_FLOOR: "floor: poll and post only",
}

FAMILIES: Final[dict[str, Family]] = {
    SPAWN: "cm-exec",
    PRESPAWN: "cm-exec",
    PERSISTENT: "cm-exec",
    SDK_PROCESSES: "official",
    SDK_THREADS: "official",
    SDK_NODE: "official",
    FORK_FLOOR: "floor",
    TLS_FLOOR: "floor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row for one task: `command` is a worker, or for the fork floor what is forked and executed."""

    key: str
    task: Task
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return NAMES[self.key]


@dataclass(frozen=True, slots=True)
class Absent:
    """A row that cannot be measured here, and why."""

    key: str
    why: str


class Rows:
    """All rows that can be measured, by task, and those that cannot."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self._installed = installed
        self._folder = folder
        self.absent: list[Absent] = []
        self._rows = [row for task in TASKS for row in self._of(task)]

    def of(self, task: Task) -> list[Row]:
        """The rows of one task, in the order of the table."""
        return [row for row in self._rows if row.task == task]

    def _of(self, task: Task) -> Iterator[Row]:
        yield from self._launcher_rows(task)
        yield from self._python_rows(task)
        yield from self._node_rows(task)
        yield from self._floors(task)

    def _launcher_rows(self, task: Task) -> Iterator[Row]:
        program = Path(sys.executable).with_name("cm-exec")
        for mode in (SPAWN, PRESPAWN, PERSISTENT):
            handler = self._handler(task, mode)
            if handler is None:
                continue
            config = self._folder / f"{mode}-{task}.toml"
            config.write_text(_cm_toml(mode, handler))
            if why := _lack(mode) or _refusal(program, config):
                self._leave_out(mode, why)
            else:
                yield Row(key=mode, task=task, command=(str(program), "run", "--config", str(config)))

    def _handler(self, task: Task, mode: str) -> tuple[str, ...] | None:
        if task == "echo":
            return ("/bin/cat",)
        script = "numpy_lines.py" if mode == PERSISTENT else "numpy_once.py"
        return (str(self._installed.python), str(_HANDLERS / script)) if self._installed.python else None

    def _python_rows(self, task: Task) -> Iterator[Row]:
        for key, concurrency_type in ((SDK_PROCESSES, "processes"), (SDK_THREADS, "threads")):
            if self._installed.python is None:
                self._leave_out(key, self._installed.missing["python"])
                continue
            script = str(_WORKERS / f"sdk_{task}.py")
            yield Row(key=key, task=task, command=(str(self._installed.python), script, concurrency_type))

    def _node_rows(self, task: Task) -> Iterator[Row]:
        node = shutil.which("node")
        if task != "echo":
            return
        if self._installed.node_path is None or node is None:
            self._leave_out(SDK_NODE, self._installed.missing["node"])
            return
        where = (("NODE_PATH", str(self._installed.node_path)),)
        yield Row(key=SDK_NODE, task=task, command=(node, str(_WORKERS / "sdk_echo.js")), environment=where)

    def _floors(self, task: Task) -> Iterator[Row]:
        handler = self._handler(task, SPAWN)
        if handler is not None:
            yield Row(key=FORK_FLOOR, task=task, command=handler)
        if task == "echo":
            yield Row(key=TLS_FLOOR, task=task, command=(sys.executable, str(_WORKERS / "tls_loop.py")))

    def _leave_out(self, key: str, why: str) -> None:
        if key not in {absent.key for absent in self.absent}:
            self.absent.append(Absent(key, why))


def fork_floor_command(row: Row, *, concurrency: int, seconds: float, size: int) -> list[str]:
    """The floor's own loop around the row's command."""
    loop = str(_WORKERS / "fork_loop.py")
    return [sys.executable, loop, str(concurrency), str(seconds), str(size), *row.command]


def _cm_toml(mode: str, handler: tuple[str, ...]) -> str:
    """A cm.toml for one function; mode spawn is what a function has that says nothing."""
    lines = ["[functions.echo]", f"command = {json.dumps(handler)}"]
    if mode != SPAWN:
        lines.append(f'mode = "{mode}"')
    return "\n".join(lines) + "\n"


def _lack(mode: str) -> str:
    return "" if importlib.util.find_spec(f"cm_exec.handlers.{mode}") else "this cm-exec does not have the mode"


def _refusal(program: Path, config: Path) -> str:
    """Why cm-exec does not take this cm.toml; empty if it does."""
    if not program.exists():
        return "cm-exec is not installed beside this Python"
    done = subprocess.run([program, "check", "--config", config], capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    return " ".join((done.stderr or done.stdout).split()[:40])
