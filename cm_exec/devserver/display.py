"""What `cm-exec dev` shows on its terminal, where everything is and what happens, and the keys that it reads there."""

import json
import os
import select
import shlex
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cm_exec import __version__
from cm_exec.config import Config
from cm_exec.datatypes import sample
from cm_exec.devserver.worker_process import WorkerSource
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core import RuntimeJob, State
from cm_exec.local_runtime.core.worker_status import WorkerState
from cm_exec.local_runtime.feed import News
from cm_exec.local_runtime.worker_files import CONTAINER_HOST, Style
from cm_exec.protocol.function_schema import Input
from cm_exec.terminal import BOLD, CYAN, DIM, RED, Terminal
from cm_exec.text import count_text, duration_text, size_text

_FUNCTIONS_SHOWN = 8


def print_banner(terminal: Terminal, runtime: LocalRuntime, source: WorkerSource | None, shown_as: Path) -> None:
    """Print the console, the way to call, the functions."""
    head = terminal.styled(f"cm-exec dev {__version__}", BOLD)
    terminal.write(f"\n  {head}  {terminal.styled(_described(source, shown_as), DIM)}\n")
    _print_entry(terminal, "console", terminal.styled(runtime.callers.console_url, CYAN))
    name, query = "NAME", "{}"
    if isinstance(source, Config):
        name = next(iter(source.functions))
        query = _example_query(source.functions[name].inputs)
    token = shlex.quote(f"Authorization: Bearer {runtime.callers.token}")
    address = f"{runtime.callers.url}/functions/{quote(name, safe='')}"
    _print_entry(terminal, "call", f"curl -H {token} {address} -d {shlex.quote(query)}")
    if isinstance(source, Config):
        _print_entry(terminal, "", f"cm-exec invoke --dev {shlex.quote(name)} {shlex.quote(query)}")
    slots = count_text(runtime.files.slots, "slot")
    plain = f", http://127.0.0.1:{runtime.files.plain_port} (plain API)" if runtime.files.plain_port else ""
    _print_entry(terminal, "runtime", f"{runtime.files.url}{plain}, {slots}")
    terminal.write("")


def print_for_other_worker(terminal: Terminal, runtime: LocalRuntime, style: Style, env_file: Path) -> None:
    """Print what another worker needs: in a shell, in a container, in one that does not share the network."""
    files = runtime.files
    terminal.write(terminal.styled("  In the shell of a worker:\n", BOLD))
    terminal.write(files.export_lines(style))
    terminal.write(terminal.styled("  A worker in a container:\n", BOLD))
    arguments = files.docker_arguments(env_file if files.shares_network else None, style)
    terminal.write(f"docker run --rm {shlex.join(arguments)} IMAGE\n")
    host = CONTAINER_HOST if files.shares_network else files.host
    arguments = files.docker_arguments(None if files.shares_network else env_file, style, host=host)
    terminal.write(
        terminal.styled("  Where a container has a network of its own (on Linux with --listen 0.0.0.0):\n", DIM)
    )
    terminal.write(f"docker run --rm {shlex.join(arguments)} IMAGE\n")


def _print_entry(terminal: Terminal, name: str, value: str) -> None:
    terminal.write(f"  {terminal.styled(f'{name:<8}', DIM)}  {value}")


def _described(source: WorkerSource | None, shown_as: Path) -> str:
    if source is None:
        return "waits for a worker that you start"
    if not isinstance(source, Config):
        return shlex.join(source)
    names = list(source.functions)
    shown = ", ".join(names[:_FUNCTIONS_SHOWN]) + (", …" if len(names) > _FUNCTIONS_SHOWN else "")
    return f"{shown_as}: {shown}"


def _example_query(inputs: tuple[Input, ...] | None) -> str:
    if inputs is None:
        return "{}"
    return json.dumps({each.name: sample(each.type) for each in inputs if each.required}, ensure_ascii=False)


_FOLLOW_SECONDS: Final = 0.1


class Follower(threading.Thread):
    """Shows how jobs end, and protocol violations, until the runtime stops.

    `on_ready` is called when a worker polls for the first time.
    """

    def __init__(self, runtime: LocalRuntime, terminal: Terminal, on_ready: Callable[[], None]) -> None:
        super().__init__(name="follow", daemon=True)
        self._runtime = runtime
        self._terminal = terminal
        self._on_ready: Callable[[], None] | None = on_ready
        self.delays: dict[str, str] = {}
        """What was already said of a job that takes long, by its id."""
        self._reported: set[int] = set()

    def run(self) -> None:
        """Implement threading.Thread."""
        for news in self._runtime.follow():
            self._report(news)
            time.sleep(_FOLLOW_SECONDS)

    def _report(self, news: News) -> None:
        if self._on_ready is not None and self._runtime.worker_state is WorkerState.READY:
            self._on_ready()
            self._on_ready = None
        for job in news.jobs:
            if job.state.final and job.number not in self._reported:
                self._reported.add(job.number)
                self._terminal.line(job.function, *_job_sentence(job, self.delays.pop(job.job_id, "")))
        if news.jobs_omitted:
            self._terminal.line("runtime", f"… and {news.jobs_omitted} more jobs", DIM)
        for violation in news.violations:
            self._terminal.line(violation.function or "worker", f"protocol violation: {violation.message}", RED)


def _job_sentence(job: RuntimeJob, delay: str) -> tuple[str, str]:
    answer = job.answer
    run = "" if job.started is None or job.ended is None else f" in {duration_text(job.ended - job.started)}"
    if job.state is State.DONE:
        return f"#{job.number} done{run}, {size_text(len(job.query))} → {size_text(answer.size if answer else 0)}", DIM
    failure = answer.failure if answer else None
    why = (failure.message if failure else None) or job.reason or "it gave no reason"
    return f"#{job.number} {job.state}{run}: {why.replace(f' ({delay})', '')}", RED


_LOOK_SECONDS: Final = 0.5


@contextmanager
def keys(actions: Mapping[str, Callable[[], object]]) -> Iterator[bool]:
    """Call the action of a pressed key meanwhile. Gives False where there is no terminal to read from."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()) or not _in_foreground():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    stop = threading.Event()
    reader = threading.Thread(target=_read_keys, args=(actions, stop), name="keys", daemon=True)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)  # Ctrl-C still sends SIGINT
        reader.start()
        yield True
    finally:
        stop.set()
        reader.join()
        if _in_foreground():
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _read_keys(actions: Mapping[str, Callable[[], object]], stop: threading.Event) -> None:
    while not stop.is_set():
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
        if not readable or not _in_foreground():
            stop.wait(_LOOK_SECONDS if readable else 0)
            continue
        pressed = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
        if not pressed:
            return
        if pressed in actions:
            actions[pressed]()


def _in_foreground() -> bool:
    """Return whether this process may use its terminal: a background process would be stopped for it."""
    with suppress(OSError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False
