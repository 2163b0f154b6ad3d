"""A worker as a process beneath `cm-exec dev`, which does not outlive it, and the thread that reads its log."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from cm_exec.config import Config
from cm_exec.errors import UsageError
from cm_exec.protocol import environment as names

_MAIN: Final = "import sys; sys.path.append(sys.argv.pop(1)); from cm_exec.cli import main; main()"
_GUARDIAN: Final = Path(__file__).with_name("guardian.py")
_LONGEST_LINE: Final = 64 * 1024
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_NEVER_BY_PROXY: Final = ("localhost", "127.0.0.1", "::1")
_WORKER_LOGGER: Final = "cm_exec.worker"
_HIDDEN: Final = names.CONNECTION_VARIABLES | {names.MAX_CONCURRENT_TASKS}

WorkerSource = Config | Sequence[str]
"""What is started: the functions of a cm.toml, or a command."""


class LineParams(msgspec.Struct, frozen=True, kw_only=True):
    """What a line is about. The line about a change of a service has its state; its name is `function`."""

    job_id: str | None = None
    function: str | None = None
    service_state: str | None = None
    service_kind: str = ""
    processes: int | None = None


class LogEntry(LineParams, frozen=True, kw_only=True):
    """A line of a worker. `from_handler` is what a handler wrote; `level` is INFO, WARN, ERROR or DEBUG.

    `routine` marks the lines that every worker writes when it starts and ends in good order.
    """

    text: str
    level: str = "INFO"
    from_handler: bool = False
    routine: bool = False


class _SlsLine(msgspec.Struct, tag_field="type", tag="service.1"):
    """A line as the platform reads it. cm-exec and the official SDKs write it."""

    message: str
    origin: str = ""
    level: str = "INFO"
    safe: bool = True
    params: LineParams = LineParams()


_sls_decoder = msgspec.json.Decoder(_SlsLine)


def parse_sls_line(line: bytes) -> LogEntry:
    """Read a line of `cm-exec run --log-format sls`; a line of another form, such as a traceback, as it stands."""
    try:
        read = _sls_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return LogEntry(text=line.decode(errors="backslashreplace").rstrip("\r\n"), level="ERROR")
    is_state = read.params.service_state is not None
    return LogEntry(
        text=read.message,
        level=read.level,
        from_handler=not read.safe,
        routine=read.safe and read.level == "INFO" and (read.origin == _WORKER_LOGGER or is_state),
        **msgspec.structs.asdict(read.params),
    )


def parse_foreign_line(line: bytes) -> LogEntry:
    """Read a line of the official SDKs, which log as the platform reads it; any other line as it stands."""
    if not line.startswith(b'{"'):
        return parse_plain_line(line)
    try:
        read = _sls_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return parse_plain_line(line)
    if read.params.job_id:
        return LogEntry(text=read.message, from_handler=True, job_id=read.params.job_id, function="worker")
    return LogEntry(text=read.message, level=read.level)


def parse_plain_line(line: bytes) -> LogEntry:
    """Take a line of a worker that is not cm-exec."""
    return LogEntry(text=line.decode(errors="backslashreplace").rstrip("\r\n"))


def cm_exec_command(config_path: Path, *options: str) -> list[str]:
    """Return the command of `cm-exec run` with this very cm_exec.

    Not `-m cm_exec`: that would import modules of the current folder, such as a handler called json.py.
    """
    here = str(Path(__file__).parents[2])
    return [sys.executable, "-P", "-c", _MAIN, here, "run", "--config", str(config_path), *options]


class WorkerProcess:
    """A worker behind a guardian that ends all its processes. Raises UsageError if it cannot be started.

    `on_line` takes its log, and `on_end` is called when it has ended and its log is read; both from its thread.
    SIGTERM goes to its process group, so that a wrapper such as npm needs not pass it on, or to its first process
    alone, as for cm-exec. `folder` is removed as well if this process is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        on_line: Callable[[LogEntry], None],
        on_end: Callable[["WorkerProcess"], None] = lambda _: None,
        parse: Callable[[bytes], LogEntry] = parse_plain_line,
        cwd: Path | None = None,
        folder: Path | None = None,
        signals_group: bool = True,
    ) -> None:
        self._parse = parse
        self._on_line = on_line
        self._on_end = on_end
        self._terminate = b"G" if signals_group else b"T"
        self._draining = False
        self.exit_code: int | None = None
        """The exit status, -N after signal N; None while it runs."""
        self._lifeline, theirs = socket.socketpair()
        with theirs:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARDIAN), str(theirs.fileno()), str(folder or ""), *command],
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=[theirs.fileno()],
            )
        self._reports = self._lifeline.makefile()
        assert self._guardian.stdout is not None  # noqa: S101 - for the type checker
        self._output: IO[bytes] = self._guardian.stdout
        kind, _, value = self._reports.readline().partition(" ")
        if kind != "pid":
            self._output.close()
            self._close()
            raise UsageError(f"the command cannot be started: {value.strip() or 'its guardian ended'}")
        self.pid = int(value)
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._follow, name=f"worker-{self.pid}", daemon=True)
        self._thread.start()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    def drain(self) -> None:
        """Let it finish its jobs and end."""
        if not self._draining:
            self._draining = True
            self._order(self._terminate)

    def end(self) -> None:
        """Let it end its jobs and itself."""
        self.drain()
        self._order(self._terminate)

    def kill(self) -> None:
        """End it without asking."""
        self._order(b"K")

    def stop(self, seconds: float) -> None:
        """Let it finish its jobs and end; without asking after so many seconds."""
        self.drain()
        if not self.wait(seconds):
            self.kill()
            self.wait(seconds)

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether it has ended, and its log is read, within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _order(self, order: bytes) -> None:
        with suppress(OSError):
            self._lifeline.sendall(order)

    def _follow(self) -> None:
        with self._output as output:
            while line := output.readline(_LONGEST_LINE):
                self._on_line(self._parse(line))
        report = self._reports.readline()
        self._close()
        self.exit_code = int(report.split()[1]) if report else self._guardian.returncode
        self._on_end(self)

    def _close(self) -> None:
        self._reports.close()
        self._lifeline.close()
        self._guardian.wait()


def describe_exit(code: int | None) -> str:
    """Say how a process ended."""
    if code is None:
        return "is running"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"ended with exit status {code}"


def worker_environment(variables: Mapping[str, str], hidden: frozenset[str] = _HIDDEN) -> dict[str, str]:
    """Return the environment for a worker: this process's own without `hidden`, and the runtime's variables.

    A proxy is for other machines: many clients would ask it for localhost, too.
    """
    own = {name: value for name, value in os.environ.items() if name not in hidden}
    if any(name.lower() in _PROXIES for name in own):
        for name in ("NO_PROXY", "no_proxy"):
            own[name] = ",".join(filter(None, [own.get(name), *_NEVER_BY_PROXY]))
    return own | dict(variables)
