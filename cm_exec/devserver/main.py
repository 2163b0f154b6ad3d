"""The start of `cm-exec dev`: its runtime, its ports, its signals."""

import fcntl
import os
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import click
import msgspec

from cm_exec.config import Config
from cm_exec.config.load import load_config, parse_config
from cm_exec.devserver import DevArgs
from cm_exec.devserver.display import Follower, keys, print_banner, print_for_other_worker
from cm_exec.devserver.instances import Instance, claimed_port, real_text, registered, remembered_token
from cm_exec.devserver.session import DevSession, Event, RestartRequested, SignalReceived
from cm_exec.devserver.worker_process import WorkerSource
from cm_exec.errors import ConfigError, Problem
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.faults import Fault, FaultSyntaxError, parse_fault
from cm_exec.local_runtime.core.worker_status import ProcessState
from cm_exec.local_runtime.views import CallerOptions, InvalidTestError
from cm_exec.local_runtime.worker_files import replace_file
from cm_exec.processes.signals import signal_handlers
from cm_exec.protocol.environment import MAX_CONCURRENT_TASKS
from cm_exec.terminal import DIM, GREEN, RED, Terminal
from cm_exec.text import count_text

_CALLER_PORTS: Final = list(range(8950, 8970))
"""Always the same if it is free, so that the browser finds what the console remembers."""
_RUNTIME_PORTS: Final = [8945]
_PLAIN_PORTS: Final = [8946]
"""The platform's own ports: some clients have them built in."""
_PORTS_FILE: Final = "ports.json"
_LAST_LINES_SECONDS: Final = 1.0


def run_dev(args: DevArgs) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises ConfigError, UsageError, click.UsageError."""
    faults = _parsed(args.faults)
    source = _source(args)
    terminal = Terminal()
    events: SimpleQueue[Event] = SimpleQueue()  # a signal handler may put into it at any moment
    with ExitStack() as stack:
        runtime = stack.enter_context(_runtime(args, source, faults, stack))
        stack.enter_context(signal_handlers(lambda number: events.put(SignalReceived(number))))
        config_path = real_text(args.config_path)
        instance = Instance(
            pid=os.getpid(), url=runtime.callers.url, config_path=config_path, token=runtime.callers.token
        )
        stack.enter_context(registered(instance))
        if args.env_file is not None:
            _write(args.env_file, runtime.files.env_file(args.env_style).encode(), "--env-file")
        announce = stack.enter_context(_ready_file(args, runtime, terminal))
        print_banner(terminal, runtime, source, args.config_path)
        if args.env_file is not None:
            terminal.line("dev", f"the worker's variables are in {args.env_file}", DIM)

        def connected() -> None:
            terminal.line("dev", "the worker is connected", GREEN)
            if source is not None:
                announce()

        follower = Follower(runtime, terminal, connected)
        follower.start()
        session = DevSession(args, runtime, terminal, events, follower.delays)
        stack.enter_context(_console(args, runtime, terminal, events))
        if source is None:
            print_for_other_worker(terminal, runtime, args.env_style, args.env_file or runtime.files.env_path)
            runtime.report_process(ProcessState.NONE)
            announce()
            session.wait_for_signal()
        else:
            session.work(source)
    follower.join(_LAST_LINES_SECONDS)
    if runtime.violation_count and args.fails_on_breach:
        terminal.line("dev", f"{count_text(runtime.violation_count, 'protocol violation')}", RED)
        raise SystemExit(1)


@contextmanager
def _console(args: DevArgs, runtime: LocalRuntime, terminal: Terminal, events: SimpleQueue[Event]) -> Iterator[None]:
    """Open the console if that is asked for, and read keys meanwhile."""

    def open_console() -> None:
        address = runtime.callers.one_time_url()
        threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()

    if args.open_browser:
        open_console()
    actions: dict[str, Callable[[], object]] = {
        "o": open_console,
        "r": lambda: events.put(RestartRequested()),
        "q": lambda: events.put(SignalReceived(signal.SIGINT)),
    }
    with keys(actions) as are_read:
        if are_read:
            terminal.write(terminal.styled("  keys: o opens the console, r restarts the worker, q quits\n", DIM))
        yield


def _parsed(texts: tuple[str, ...]) -> list[Fault]:
    try:
        return [parse_fault(text) for text in texts]
    except FaultSyntaxError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None


def _source(args: DevArgs) -> WorkerSource | None:
    if args.worker_command and not args.starts_worker:
        raise click.UsageError("--no-worker starts no worker; leave it out, or the command")
    if args.worker_command or not args.starts_worker:
        return args.worker_command or None
    try:
        args.config_path.stat()
    except FileNotFoundError as error:
        remedy = (
            "create a project with `cm-exec init`, name the file with --config, run a worker of any kind with "
            "`cm-exec dev -- COMMAND`, or use --no-worker and start one yourself"
        )
        message = f"cannot be read: {error.strerror}; {remedy}"
        raise ConfigError(args.config_path, [Problem(key="", message=message)]) from None
    except OSError:
        pass  # load_config reports it
    return load_config(args.config_path)


@contextmanager
def _runtime(
    args: DevArgs, source: WorkerSource | None, faults: list[Fault], stack: ExitStack
) -> Iterator[LocalRuntime]:
    if args.runtime_dir is None:
        temporary = tempfile.TemporaryDirectory(prefix="cm-exec-dev-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
    else:
        folder = stack.enter_context(_locked(args.runtime_dir))
    ports = _Ports() if args.runtime_dir is None else _Ports.of(folder)
    try:
        runtime = LocalRuntime(
            folder,
            max_concurrent_tasks=_slots(args, source),
            port=_port(args.runtime_port, [*ports.runtime, *_RUNTIME_PORTS], args.listen, stack),
            address=args.listen,
            names=args.host_names,
            plain_port=_port(0 if args.runtime_port == 0 else None, [*ports.plain, *_PLAIN_PORTS], "127.0.0.1", stack),
            faults=faults,
            sdk_errors=not isinstance(source, Config),
            callers=CallerOptions(
                port=_port(args.port, [*ports.callers, *_CALLER_PORTS], args.listen, stack),
                token=remembered_token() if args.runtime_dir is None else None,
                timeout=args.call_timeout or None,
                user_id=args.user_id,
                auth_header=args.auth_header,
                save_test=_test_writer(args.config_path) if isinstance(source, Config) else None,
            ),
        )
    except OSError as error:
        where = error.filename or f"cannot listen on {args.listen}{_port_text(args)}"
        raise click.UsageError(f"{where}: {error.strerror}") from None
    if args.runtime_dir is not None:
        _Ports.remember(folder, runtime)
    replace_file(runtime.files.env_path, runtime.files.env_file(args.env_style).encode(), mode=0o600)
    with runtime:
        yield runtime


class _Ports(msgspec.Struct):
    """The ports of the run before in the same --runtime-dir, so that a worker's settings stay valid."""

    runtime: list[int] = []
    plain: list[int] = []
    callers: list[int] = []

    @classmethod
    def of(cls, folder: Path) -> "_Ports":
        """Read them; none if there are none."""
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode((folder / _PORTS_FILE).read_bytes(), type=cls)
        return cls()

    @classmethod
    def remember(cls, folder: Path, runtime: LocalRuntime) -> None:
        """Write those of this run."""
        plain = [] if runtime.files.plain_port is None else [runtime.files.plain_port]
        ports = cls(runtime=[runtime.port], plain=plain, callers=[runtime.callers.listener.port])
        replace_file(folder / _PORTS_FILE, msgspec.json.encode(ports))


def _port_text(args: DevArgs) -> str:
    ports = [str(port) for port in (args.port, args.runtime_port) if port]
    return f", port {' or '.join(ports)}" if ports else ""


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Use a folder that outlives this run, alone."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            (folder / ".gitignore").write_text("*\n")
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise click.BadParameter(f"{folder}: {error.strerror}", param_hint="--runtime-dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise click.BadParameter(f"{folder}: another cm-exec dev uses it", param_hint="--runtime-dir") from None
    try:
        yield folder.resolve()
    finally:
        os.close(lock)


def _port(wanted: int | None, preferred: list[int], address: str, stack: ExitStack) -> int:
    return stack.enter_context(claimed_port(address, preferred)) if wanted is None else wanted


def _slots(args: DevArgs, source: WorkerSource | None) -> int:
    of_config = source.launcher.concurrency if isinstance(source, Config) else None
    text = os.environ.get(MAX_CONCURRENT_TASKS, "")
    return args.concurrency or of_config or (int(text) if text.isdecimal() and int(text) else 1)


def _test_writer(path: Path) -> Callable[[str], str | None]:
    """Return a function that adds a test to a cm.toml, which is valid before and after."""

    def write(entry: str) -> str | None:
        with suppress(OSError):
            file = path.resolve()
            text = file.read_bytes().rstrip() + b"\n\n"
            whole = text + _with_new_name(entry, text).encode()
            try:
                parse_config(whole.decode("utf-8-sig"), path=file)
            except UnicodeDecodeError:
                raise InvalidTestError(f"{path} is not UTF-8") from None
            except ConfigError as error:
                problems = "; ".join(map(str, error.problems))
                raise InvalidTestError(f"{path} is not valid with this test: {problems}") from None
            replace_file(file, whole, mode=file.stat().st_mode & 0o777)
            return path.name
        return None

    return write


def _with_new_name(entry: str, text: bytes) -> str:
    """Return the entry with a number after its name if the text of a cm.toml has this line: names are unique."""
    name = next(line for line in entry.split("\n") if line.startswith("name = "))
    names = (f'{name[:-1]} ({number})"' if number > 1 else name for number in count(1))
    lines = {line.rstrip("\r") for line in text.decode(errors="replace").split("\n")}
    return entry.replace(name, next(each for each in names if each not in lines), 1)


@contextmanager
def _ready_file(args: DevArgs, runtime: LocalRuntime, terminal: Terminal) -> Iterator[Callable[[], None]]:
    """Give a function that writes the file of --ready-file, which is removed at the end and not written after it."""
    path = args.ready_file
    is_over = False
    if path is None:
        yield lambda: None
        return

    def write() -> None:
        if is_over:
            return
        try:
            replace_file(path, _ready_text(runtime, args), mode=0o600)
        except OSError as error:
            terminal.line("dev", f"{path} cannot be written: {error.strerror}", RED)

    if os.path.exists(path) and not os.path.isfile(path):  # a device stays, and a pipe would block until it is read
        yield write
        return
    _write(path, b"", "--ready-file")  # finds out now whether it can be written
    path.unlink()
    try:
        yield write
    finally:
        is_over = True
        with suppress(OSError):
            path.unlink()


def _ready_text(runtime: LocalRuntime, args: DevArgs) -> bytes:
    content = {
        "pid": os.getpid(),
        "callersUrl": runtime.callers.url,
        "consoleUrl": runtime.callers.console_url,
        "token": runtime.callers.token,
        "environment": runtime.environment(args.env_style),
    }
    return msgspec.json.format(msgspec.json.encode(content)) + b"\n"


def _write(path: Path, content: bytes, option: str) -> None:
    try:
        replace_file(path, content, mode=0o600)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint=option) from None
