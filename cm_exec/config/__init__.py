"""The values of a cm.toml, with all defaults applied."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from cm_exec.protocol.failure import Reason
from cm_exec.protocol.function_schema import FunctionSchema, Input, Returns
from cm_exec.text import did_you_mean

Output = Literal["bytes", "json", "text"]
Mode = Literal["spawn", "prespawn", "persistent"]
Protocol = Literal["lines", "content-length", "http"]
Streaming = bool | Literal["sse"]
ResultFd = Literal[1, 3]
LogFormat = Literal["text", "sls"]
LogLevel = Literal["debug", "info", "warning", "error"]
Command = str | tuple[str, ...]
"""A command for `/bin/sh -c`, or an argument list that is executed directly."""


_AUTHORITY: Final = r"http://(?P<host>\[[^\]]*\]|[^:/]*)(?::(?P<port>[0-9]+))?/?"


class ServerAddress(Struct, frozen=True, kw_only=True):
    """Where an HTTP server listens: `host` and `port`, or the path of a Unix socket."""

    host: str = "localhost"
    port: int = 80
    socket: str | None = None

    @classmethod
    def of_url(cls, url: str) -> "ServerAddress":
        """Return the address in a URL of `http` or `unix` that the schema accepts."""
        if url.startswith("unix:"):
            return cls(socket=url.removeprefix("unix:"))
        match = re.fullmatch(_AUTHORITY, url)
        assert match  # noqa: S101 - the schema's pattern is stricter
        return cls(host=match["host"].strip("[]"), port=int(match["port"] or 80))


class HttpRequest(Struct, frozen=True, kw_only=True):
    """How a job becomes a request to an HTTP service.

    `{name}` in `path` stands for an input of the query; `path_inputs` are these names and `query` those that become
    query parameters. Only POST, PUT and PATCH have a body: the input named `body`, or the query itself if it is None.
    """

    method: str
    path: str
    path_inputs: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    body: str | None = None

    @classmethod
    def of_text(cls, text: str, query: tuple[str, ...], body: str | None) -> "HttpRequest":
        """Return the request of a text such as `GET /items/{id}`."""
        method, _, path = text.partition(" ")
        names = tuple(dict.fromkeys(re.findall(r"\{([^{}]+)\}", path)))
        return cls(method=method, path=path, path_inputs=names, query=query, body=body)

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self.method in {"POST", "PUT", "PATCH"}


class Program(Struct, frozen=True, kw_only=True):
    """How a process of a function or of a service is started, and how it gives results.

    `command` is None for a server that something else starts; `cwd` is absolute; `inherit_env` is None for all of the
    launcher's variables; `idle_timeout` is in seconds, None for no limit.
    """

    command: Command | None
    env: Mapping[str, str]
    cwd: Path
    inherit_env: tuple[str, ...] | None
    credentials: bool = False
    result_fd: ResultFd = 1
    idle_timeout: float | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command as it is executed, empty if something else starts the server."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command or ()


class Service(Program, frozen=True, kw_only=True):
    """Processes that stay up and serve functions.

    A function with `mode = "persistent"` has a service of its own, which has the function's name. `processes` is None
    for as many as jobs need; `ready` is "read", "message", the path of an HTTP request, or empty for a connection;
    times are in seconds; None is no limit. `functions` are the names of those that use it.
    """

    name: str
    protocol: Protocol = "lines"
    envelope: bool = False
    processes: int | None = None
    jobs_per_process: int = 1
    ready: str = "read"
    start_timeout: float = 300.0
    max_jobs: int | None = None
    url: str | None = None
    address: ServerAddress | None = None
    functions: tuple[str, ...] = ()


class Function(Program, frozen=True, kw_only=True):
    """One function and the command or service that serves it: its program is that of its service if it has one.

    `timeout` is in seconds, None for no limit; `max_output` is in bytes; `max_concurrency` is None for all slots.
    """

    name: str
    timeout: float | None
    max_output: int
    output: Output
    max_concurrency: int | None
    mode: Mode = "spawn"
    service: Service | None = None
    request: HttpRequest | None = None
    stream: Streaming = False
    job_dir: bool = False
    error_output: bool = False
    description: str | None = None
    inputs: tuple[Input, ...] | None = None
    returns: Returns | None = None
    edits: tuple[str, ...] = ()
    check_queries: bool = False
    check_results: bool = False

    @property
    def schema(self) -> FunctionSchema:
        """The function as it is published."""
        return FunctionSchema(
            name=self.name,
            description=self.description,
            inputs=self.inputs,
            returns=self.returns,
            edits=self.edits,
        )


class Launcher(Struct, frozen=True, kw_only=True):
    """The `[launcher]` table. `concurrency` is None if `MAX_CONCURRENT_TASKS` decides; times are in seconds."""

    concurrency: int | None
    drain_timeout: float
    log_format: LogFormat
    log_level: LogLevel
    tls_server_name: str | None
    wait_for_services: bool = True


FailureReason = Literal[
    "exit",
    "signal",
    "timeout",
    "output_limit",
    "invalid_output",
    "invalid_query",
    "not_started",
    "out_of_step",
    "handler",
    "http_status",
]
"""The reasons that a function can cause itself; the others need a runtime."""

Source = bytes | Path
"""The text itself, or the absolute path of the file that contains it."""


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
    """The job fails for this reason, and its error or its stderr contains this text; None for any."""

    reason: Reason | None
    contains: str | None


ExpectedOutcome = ResultIsJson | ResultIsBytes | ResultMatches | JobFails


class FunctionTest(Struct, frozen=True, kw_only=True):
    """One query to one function, and the expected outcome of the job.

    `at` is its key path, such as "tests[0]". `number` counts the tests of the function from 1; `name` is None for a
    test without one. `timeout` is in seconds, 0 for no limit, None for the function's own.
    """

    at: str
    function: str
    number: int
    name: str | None
    query: Source
    expected: ExpectedOutcome
    timeout: float | None
    user_id: str | None = None

    @property
    def label(self) -> str:
        """A name that is unique among the tests of its function."""
        return self.name or f"{self.function} {self.number}"

    @property
    def title(self) -> str:
        """A name that is unique among all tests."""
        return f"{self.function}: {self.name}" if self.name else self.label


class Config(Struct, frozen=True, kw_only=True):
    """A whole cm.toml. `path` is absolute; functions, services and tests are in the order of the file.

    `services` includes those of functions with `mode = "persistent"`, after the named ones.
    """

    path: Path
    functions: Mapping[str, Function]
    launcher: Launcher
    services: Mapping[str, Service] = {}
    tests: tuple[FunctionTest, ...] = ()

    def without_function(self, name: str) -> str:
        """Say that it has no function of this name, and which one was perhaps meant."""
        return f"no function {name!r}; {did_you_mean(name, self.functions, otherwise='cm.toml has', quote=repr)}"
