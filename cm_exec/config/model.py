"""What a cm.toml says, after every default is in its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from cm_exec.protocol.failure import Reason
from cm_exec.protocol.function_schema import FunctionSchema, Input, Returns

Output = Literal["bytes", "json", "text"]
Mode = Literal["spawn", "prespawn", "persistent"]
Framing = Literal["lines", "content-length"]
ResultFd = Literal[1, 3]
LogFormat = Literal["text", "sls"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Service(Struct, frozen=True, kw_only=True):
    """A program that stays up and serves functions; what the worker reads of it.

    `command` is None if something else starts the server. `processes` is None for as many as the jobs need; `ready` is
    "read", "message", or the path of an HTTP readiness check; times are in seconds.
    """

    name: str
    command: str | tuple[str, ...] | None
    env: Mapping[str, str]
    cwd: Path
    inherit_env: tuple[str, ...] | None
    credentials: bool
    result_fd: ResultFd = 1
    protocol: Literal["lines", "content-length", "http"] = "lines"
    envelope: bool = False
    processes: int | None = None
    jobs_per_process: int = 1
    ready: str = "read"
    start_timeout: float = 300.0
    max_jobs: int | None = None
    idle_timeout: float | None = None
    url: str | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command as it is executed."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command or ()


class Function(Struct, frozen=True, kw_only=True):
    """One function and the command that serves it.

    `command` is a string for `/bin/sh -c`, or an argument list that is executed as it stands. `timeout` is in
    seconds, None for none; `max_output` in bytes; `cwd` absolute; `inherit_env` None for all of the launcher's
    variables; `max_concurrency` None for all slots; `processes` None for as many as there are slots; `max_jobs` None
    for any number of jobs a process; `idle_timeout` in seconds, None for none.
    """

    name: str
    command: str | tuple[str, ...]
    timeout: float | None
    max_output: int
    output: Output
    env: Mapping[str, str]
    cwd: Path
    inherit_env: tuple[str, ...] | None
    max_concurrency: int | None
    credentials: bool
    mode: Mode = "spawn"
    stream: bool = False
    result_fd: ResultFd = 1
    framing: Framing = "lines"
    envelope: bool = False
    processes: int | None = None
    max_jobs: int | None = None
    idle_timeout: float | None = None
    description: str | None = None
    inputs: tuple[Input, ...] | None = None
    returns: Returns | None = None
    check_queries: bool = False
    check_results: bool = False

    @property
    def service(self) -> Service | None:
        """The service that serves the function, None if it starts a process for each job."""
        if self.mode != "persistent":
            return None
        return Service(
            name=self.name,
            command=self.command,
            env=self.env,
            cwd=self.cwd,
            inherit_env=self.inherit_env,
            credentials=self.credentials,
            result_fd=self.result_fd,
            protocol=self.framing,
            envelope=self.envelope,
            processes=self.processes,
            max_jobs=self.max_jobs,
            idle_timeout=self.idle_timeout,
        )

    @property
    def checks_lines(self) -> bool:
        """Whether a line that is not JSON cannot be a result: `lines`, and no other `output` was asked for."""
        return self.framing == "lines" and self.output != "text"

    @property
    def schema(self) -> FunctionSchema:
        """The function as it is published."""
        return FunctionSchema(name=self.name, description=self.description, inputs=self.inputs, returns=self.returns)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command as it is executed."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command


class Launcher(Struct, frozen=True, kw_only=True):
    """The `[launcher]` table. `concurrency` is None where it is left to `MAX_CONCURRENT_TASKS`.

    `drain_timeout` is in seconds.
    """

    concurrency: int | None
    drain_timeout: float
    log_format: LogFormat
    log_level: LogLevel
    tls_server_name: str | None


FailureReason = Literal[
    "exit",
    "signal",
    "timeout",
    "output_limit",
    "invalid_output",
    "invalid_query",
    "not_started",
    "out_of_step",
]
"""The reasons that a function can bring about by itself; the others need a runtime."""

Source = bytes | Path
"""The text itself, or the file that it is in; a file's path is absolute."""


class ResultIsJson(Struct, frozen=True, kw_only=True):
    """The result is the same JSON as `text`.

    With `subset` its objects may have more members. Numbers may differ by `tolerance`.
    """

    text: Source
    subset: bool = False
    tolerance: float = 0.0


class ResultIsBytes(Struct, frozen=True, kw_only=True):
    """The result is `body`, byte for byte."""

    body: Source


class ResultMatches(Struct, frozen=True, kw_only=True):
    """The regular expression `pattern` is found somewhere in the result."""

    pattern: str


class JobFails(Struct, frozen=True, kw_only=True):
    """The job fails: for this reason, and with this text in its error or in what the handler wrote to stderr.

    None where any will do.
    """

    reason: Reason | None
    contains: str | None


Expectation = ResultIsJson | ResultIsBytes | ResultMatches | JobFails


class FunctionTest(Struct, frozen=True, kw_only=True):
    """One query to one function, and what is expected of the job.

    `at` is where it stands, such as "tests[0]". `number` counts the tests of the function from 1; `name` is None for a
    test without one. `timeout` is in seconds, 0 for no limit, None for the function's own.
    """

    at: str
    function: str
    number: int
    name: str | None
    query: Source
    expected: Expectation
    timeout: float | None

    @property
    def label(self) -> str:
        """What tells it from the other tests of its function."""
        return self.name or f"{self.function} {self.number}"

    @property
    def title(self) -> str:
        """What tells it from all other tests."""
        return f"{self.function}: {self.name}" if self.name else self.label


class Config(Struct, frozen=True, kw_only=True):
    """A whole cm.toml. `path` is absolute; `functions` and `tests` are in the order of the file."""

    path: Path
    functions: Mapping[str, Function]
    launcher: Launcher
    tests: tuple[FunctionTest, ...] = ()
