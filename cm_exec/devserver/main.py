"""The start of `cm-exec dev`: its runtime, its ports, its signals."""

import os
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Final

import click

from cm_exec.config import Config, load_config
from cm_exec.devserver.args import DevOptions
from cm_exec.devserver.banner import print_banner, print_for_other_worker
from cm_exec.devserver.follow import Follower
from cm_exec.devserver.instances import Address, registered
from cm_exec.devserver.session import DevSession, Event, SignalReceived
from cm_exec.local_runtime import Fault, FaultSyntaxError, LocalRuntime, ProcessState, parse_fault
from cm_exec.protocol.environment import MAX_CONCURRENT_TASKS
from cm_exec.terminal import DIM, Terminal

_PORT: Final = 8950
"""Beside the platform's 8945 and 8946. Always the same, so that the browser finds what the console remembers."""


def run_session(options: DevOptions) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises ConfigError, click.UsageError."""
    faults = _parsed(options.faults)
    config = _read_config(options) if options.starts_worker else None
    terminal = Terminal()
    events: SimpleQueue[Event] = SimpleQueue()  # a signal handler may put into it at any moment
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cm-exec-dev-", ignore_cleanup_errors=True))
        runtime = stack.enter_context(_create_runtime(options, config, faults, Path(folder)))
        stack.enter_context(_signals_to(events))
        stack.enter_context(registered(_address(runtime, options)))
        print_banner(terminal, runtime, config, options.config_path)
        if options.env_file is not None:
            _write_env_file(options.env_file, runtime.files.env_file(options.env_style), terminal)
        Follower(runtime.url, terminal).start()
        if options.open_browser:
            webbrowser.open(runtime.console_url)
        session = DevSession(options, runtime, terminal, events)
        if config is None:
            print_for_other_worker(terminal, runtime, options.env_style)
            runtime.report_process(ProcessState.NONE)
            session.wait_for_signal()
        else:
            session.work(config)


def _parsed(texts: tuple[str, ...]) -> list[Fault]:
    try:
        return [parse_fault(text) for text in texts]
    except FaultSyntaxError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None


def _read_config(options: DevOptions) -> Config:
    if not options.config_path.exists():
        raise click.UsageError(
            f"there is no {options.config_path} here; `cm-exec init` makes one, --config names another, "
            "and --no-worker needs none"
        )
    return load_config(options.config_path)


def _create_runtime(options: DevOptions, config: Config | None, faults: list[Fault], folder: Path) -> LocalRuntime:
    slots = options.concurrency or (config.launcher.concurrency if config else None) or _slots_of_environment()
    try:
        return LocalRuntime(
            folder,
            max_concurrent_tasks=slots,
            port=options.runtime_port,
            caller_port=_caller_port(options.port),
            call_timeout=options.call_timeout or None,
            faults=faults,
        )
    except OSError as error:
        raise click.UsageError(f"the ports cannot be opened: {error.strerror}") from None


def _slots_of_environment() -> int:
    text = os.environ.get(MAX_CONCURRENT_TASKS, "")
    return int(text) if text.isdecimal() and int(text) else 1


def _caller_port(wanted: int | None) -> int:
    """The port for callers; the usual one where nothing is said and nobody has it."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", _PORT if wanted is None else wanted))
        except OSError as error:
            if wanted is None:
                return 0
            raise click.BadParameter(f"{wanted}: {error.strerror}", param_hint="--port") from None
    return _PORT if wanted is None else wanted


@contextmanager
def _signals_to(events: SimpleQueue[Event]) -> Iterator[None]:
    def note(number: int, _frame: FrameType | None) -> None:
        events.put(SignalReceived(signal.Signals(number)))

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _address(runtime: LocalRuntime, options: DevOptions) -> Address:
    return Address(pid=os.getpid(), url=runtime.url, config_path=str(options.config_path.resolve()))


def _write_env_file(path: Path, text: str, terminal: Terminal) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--env-file") from None
    terminal.line("dev", f"the worker's variables are in {path}", DIM)
