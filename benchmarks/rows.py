"""The rows of the tables: the workers that are measured side by side, and how each is started."""

import json
import shutil
import socket
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
SERVICE: Final = "service"
HTTP_SERVICE: Final = "http-service"
SDK_PROCESSES: Final = "sdk-processes"
SDK_THREADS: Final = "sdk-threads"
SDK_NODE: Final = "sdk-node"
FORK_FLOOR: Final = "fork-floor"
TLS_FLOOR: Final = "tls-floor"
HTTP_FLOOR: Final = "http-floor"

NAMES: Final = {
    SPAWN: "cm-exec, spawn",
    PRESPAWN: "cm-exec, prespawn",
    PERSISTENT: "cm-exec, persistent",
    SERVICE: "cm-exec, one service process",
    HTTP_SERVICE: "cm-exec, HTTP service",
    SDK_PROCESSES: "Python SDK, processes",
    SDK_THREADS: "Python SDK, threads",
    SDK_NODE: "TypeScript SDK",
    FORK_FLOOR: "floor: fork and exec only",
    TLS_FLOOR: "floor: poll and post only",
    HTTP_FLOOR: "floor: poll, call and post only",
}

_ROWS: Final[dict[Task, tuple[str, ...]]] = {
    "echo": (SPAWN, PRESPAWN, PERSISTENT, SDK_PROCESSES, SDK_THREADS, SDK_NODE, FORK_FLOOR, TLS_FLOOR),
    "numpy": (SPAWN, PRESPAWN, PERSISTENT, SDK_PROCESSES, SDK_THREADS, FORK_FLOOR),
    "http": (HTTP_SERVICE, HTTP_FLOOR),
    "shared": (SERVICE, PERSISTENT, SDK_THREADS),
}
"""The rows of each task, in the order of the tables."""

_JOBS_PER_PROCESS: Final = 16
_MODEL_MIB: Final = 300
"""Memory of the handler that several jobs share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row for one task: `command` starts the worker; for the fork floor it is the handler."""

    key: str
    task: Task
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return NAMES[self.key]

    @property
    def family(self) -> Family:
        return family(self.key)


def family(key: str) -> Family:
    """Return whether a row is cm-exec, an official SDK or a floor."""
    if key.endswith("-floor"):
        return "floor"
    return "official" if key.startswith("sdk-") else "cm-exec"


class MissingError(Exception):
    """Raised for a row that cannot be measured here; the message says why."""


class Rows:
    """All rows that can be measured; `missing` has the reason for each of the others, by key and task."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self._installed = installed
        self._folder = folder
        self.missing: dict[tuple[str, Task], str] = {}
        self._rows = list(self._all())

    def of(self, task: Task) -> list[Row]:
        """Return the rows of one task."""
        return [row for row in self._rows if row.task == task]

    def _all(self) -> Iterator[Row]:
        for task in TASKS:
            for key in _ROWS[task]:
                try:
                    yield self._row(key, task)
                except MissingError as error:
                    self.missing[key, task] = str(error)

    def _row(self, key: str, task: Task) -> Row:
        command: tuple[str, ...]
        match key:
            case "sdk-processes" | "sdk-threads":
                script = "sdk_numpy.py" if task == "numpy" else "sdk_echo.py"
                command = (self._sdk_python(), str(_WORKERS / script), key.removeprefix("sdk-"))
            case "sdk-node":
                return self._node_row()
            case "fork-floor":
                command = self._handler(task, SPAWN)
            case "tls-floor":
                command = (sys.executable, str(_WORKERS / "tls_loop.py"))
            case "http-floor":
                command = (sys.executable, str(_WORKERS / "http_loop.py"), *http_server())
            case _:
                command = self._launcher(key, task)
        environment = (("MODEL_MIB", str(_MODEL_MIB)),) if task == "shared" else ()
        return Row(key=key, task=task, command=command, environment=environment)

    def _node_row(self) -> Row:
        node = shutil.which("node")
        if self._installed.node_path is None or node is None:
            raise MissingError(self._installed.missing["node"])
        modules = (("NODE_PATH", str(self._installed.node_path)),)
        return Row(key=SDK_NODE, task="echo", command=(node, str(_WORKERS / "sdk_echo.js")), environment=modules)

    def _sdk_python(self) -> str:
        if self._installed.python is None:
            raise MissingError(self._installed.missing["python"])
        return str(self._installed.python)

    def _handler(self, task: Task, mode: str) -> tuple[str, ...]:
        if task == "echo":
            return ("/bin/cat",)
        if task == "shared":
            return (sys.executable, "-S", "-E", str(_HANDLERS / "echo_lines.py"))
        script = "numpy_lines.py" if mode == PERSISTENT else "numpy_once.py"
        return (self._sdk_python(), str(_HANDLERS / script))

    def _launcher(self, key: str, task: Task) -> tuple[str, ...]:
        """Write a cm.toml for the row and return the command that runs cm-exec with it."""
        program = self._installed.cm_exec
        if program is None:
            raise MissingError(self._installed.missing["cm-exec"])
        config = self._folder / f"{key}-{task}.toml"
        match key:
            case "service":
                config.write_text(_service_toml(self._handler(task, key), jobs_per_process=_JOBS_PER_PROCESS))
            case "http-service":
                *server, port = http_server()
                url = f"http://127.0.0.1:{port}"
                config.write_text(_service_toml((sys.executable, *server, port), protocol="http", url=url))
            case _:
                mode = f'mode = "{key}"\n' if key != SPAWN else ""
                config.write_text(f"[functions.echo]\ncommand = {json.dumps(self._handler(task, key))}\n{mode}")
        done = subprocess.run([program, "check", "--config", config], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"cm-exec check: {' '.join((done.stderr or done.stdout).split()[:40])}")
        return (str(program), "run", "--config", str(config))


def fork_floor_command(row: Row, *, concurrency: int, seconds: float, size: int) -> list[str]:
    """Return the command of the floor's own loop around the handler."""
    loop = str(_WORKERS / "fork_loop.py")
    return [sys.executable, loop, str(concurrency), str(seconds), str(size), *row.command]


def _service_toml(command: tuple[str, ...], **options: str | int) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"command": command, **options}.items()]
    return "\n".join(["[services.echo]", *lines, "[functions.echo]", 'service = "echo"', ""])


def http_server() -> tuple[str, str]:
    """Return the script of the HTTP server and a free port for it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(_HANDLERS / "http_echo.py"), str(free.getsockname()[1])
