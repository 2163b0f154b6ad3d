"""`cm-exec invoke`: one query through a function, by the code that `run` uses."""

import errno
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import click

from cm_exec.cli.options import (
    HeaderFile,
    HeaderText,
    asks_dev,
    config_option,
    dev_options,
    function_names,
)
from cm_exec.config import Function
from cm_exec.config.load import load_config, read_file
from cm_exec.handlers import HandlerContext
from cm_exec.handlers.factory import Validator, create_handlers
from cm_exec.processes.launcher import read_all, write_all
from cm_exec.processes.signals import run_supervised
from cm_exec.protocol import Job
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.json_text import json_problem
from cm_exec.worker.job import JobRunner, LocalPost, SpooledResult
from cm_exec.worker.logging import show_messages_once, start_log

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_TIMED_OUT: Final = 124
_FAILED: Final = 1
_NUMBER: Final = re.compile(r"-[0-9].*", re.DOTALL)
_WORD: Final = re.compile(rb"[A-Za-z][A-Za-z0-9 _.-]*")
_WITH_VALUE: Final = frozenset({"--query-file", "--config", "-c", "--user-id", "--auth-header-file", "--dev-url"})


class InvokeCommand(click.Command):
    """Takes a negative number for the query, which click would take for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move a negative number to the end, behind two hyphens."""
        for at in range(1, len(args)):
            if _NUMBER.fullmatch(args[at]) and "--" not in args and args[at - 1] not in _WITH_VALUE:
                args = [*args[:at], *args[at + 1 :], "--", args[at]]
                break
        return super().parse_args(ctx, args)


@click.command(name="invoke", cls=InvokeCommand)
@click.argument("function", shell_complete=function_names)
@click.argument("query", required=False)
@click.option(
    "--query-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the query from this file.",
)
@config_option
@click.option("--user-id", type=HeaderText(), metavar="ID", help="The caller's user id, as CM_USER_ID.")
@click.option(
    "--auth-header-file",
    "auth_header",
    type=HeaderFile(),
    metavar="FILE",
    help="Take the caller's Authorization header from this file; handlers with credentials = true get it.",
)
@dev_options
def command(  # noqa: PLR0917 - click's way
    function: str,
    query: str | None,
    query_file: Path | None,
    config_path: Path,
    user_id: str | None,
    auth_header: str | None,
    dev: bool,
    dev_url: str | None,
) -> None:
    """Run one QUERY through FUNCTION, as `run` would, without a runtime.

    The query is the argument, or --query-file, or else stdin; it is passed on byte for byte. stdout is exactly what
    would be posted as the result, stderr is the command's own.

    The exit status is the command's: 124 if it ran into its timeout, 126 or 127 if it could not be started, 128+n if
    signal n ended it, and 1 if its output does not match cm.toml.
    """
    if asks_dev(dev):
        from cm_exec.devserver.client import CallIdentity, call_dev  # noqa: PLC0415 - an HTTP client is rarely needed

        identity = CallIdentity(user_id, auth_header)
        text = _read_query(query, query_file)
        sys.exit(call_dev(function, text, url=dev_url, config_path=config_path, identity=identity))
    config = load_config(config_path)
    if function not in config.functions:
        raise click.BadParameter(config.without_function(function), param_hint="FUNCTION")
    text = _read_query(query, query_file)
    _warn_of_query(config.functions[function], text)
    start_log(_STDERR, "text", "warning")
    show_messages_once()
    job = Job(
        job_id=f"local-{os.urandom(8).hex()}",
        query_type=function,
        query=text,
        user_id=user_id,
        auth_header=auth_header,
    )
    invocation = Invocation(config.functions[function], job)
    run_supervised(invocation.work, invocation.signalled)
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(invocation.exit_code)  # without waiting for helper threads


class Invocation:
    """One job, run without a runtime: its result goes to stdout."""

    def __init__(self, function: Function, job: Job) -> None:
        self._function = function
        self._job = job
        self._context = HandlerContext.from_process()
        if os.isatty(_STDERR):
            self._context.on_delay = self._report_delay
        self._obstacle = ""
        self._signal = 0
        self._output_error: OSError | None = None
        self.exit_code = 0

    async def work(self) -> None:
        """Run the job and write to stdout what would be posted."""
        name = self._function.name
        handlers = create_handlers([self._function], self._context, slots=1)
        runner = JobRunner(
            handlers,
            self,
            open_stderr=lambda _job, _tags: _OwnStderr(),
            abort=self._context.abort,
            is_stopping=lambda: self._context.stopping,
            log_answers=False,
        )
        await handlers[name].open()
        try:
            failure = (await runner.answer(self._job)).failure
        finally:
            await handlers[name].close()
        if self._output_error is not None:
            self._report_output_error(self._output_error)
        elif failure is not None and self._signal:
            click.echo(f"\ncm-exec: {signal.Signals(self._signal).name} received; {name!r} was ended", err=True)
            self.exit_code = 128 + self._signal
        elif failure is not None:
            message = failure.message.replace(f" ({self._obstacle})", "")
            click.echo(f"\ncm-exec: {message} ({failure.reason})", err=True)
            if failure.reason in {Reason.NOT_STARTED, Reason.EXIT}:
                from cm_exec.preflight import command_problem  # noqa: PLC0415 - most jobs do not fail like this

                if problem := command_problem(self._function):
                    click.echo(f"cm-exec: {problem}", err=True)
            self.exit_code = _exit_code(failure)

    async def deliver(self, job_id: str, body: bytes | SpooledResult) -> LocalPost:  # noqa: ARG002 - see ResultPoster
        """Write a result, or an error, to stdout; nothing if it is the end of the command by a signal."""
        is_error = isinstance(body, bytes) and body.startswith(b'{"error"')
        if is_error and self._signal:
            return LocalPost()
        for chunk in (body,) if isinstance(body, bytes) else body.chunks():
            self._write(chunk)
        if not is_error:
            _warn_of_result(self._function, body if isinstance(body, bytes) else body.getvalue())
        return LocalPost()

    async def stream(self, job_id: str, chunks: AsyncIterator[bytes]) -> LocalPost | None:
        """Write a result as it comes; if stdout is closed, end the job."""
        async for chunk in chunks:
            self._write(chunk)
            if self._output_error is not None:
                self._context.abort(job_id, Reason.SHUTDOWN, "its output is not read")
                break
        return LocalPost()

    def signalled(self, which: signal.Signals, count: int) -> None:
        """End the command at the first signal, without asking at the second."""
        self._signal = which
        if count == 1:
            self._context.abort_all()
        else:
            self.exit_code = 128 + which
            self._context.kill_all()

    def _report_delay(self, job: Job, seconds: int, obstacle: str) -> None:  # noqa: ARG002 - it is the only job
        click.echo(f"cm-exec: no result after {seconds} s: {obstacle}", err=True)
        self._obstacle = obstacle

    def _write(self, chunk: bytes) -> None:
        if self._output_error is None:
            try:
                write_all(_STDOUT, chunk)
            except OSError as error:
                self._output_error = error

    def _report_output_error(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:  # `| head`: as if SIGPIPE had ended the program
            self.exit_code = 128 + signal.SIGPIPE
        else:
            click.echo(f"cm-exec: cannot write the result to stdout: {error.strerror}", err=True)
            self.exit_code = _FAILED


class _OwnStderr:
    """Passes a handler's stderr on to the program's own."""

    def write(self, chunk: bytes) -> None:
        """Write at once; a stderr that is gone loses it."""
        try:
            write_all(_STDERR, chunk)
        except OSError:
            return

    def flush(self) -> None:
        """Do nothing: all is written."""


def _warn_of_query(function: Function, query: bytes) -> None:
    """Warn of a query that the runtime would not send, or that does not match inputs, unless that is an error."""
    if not query or query.isspace():
        click.echo("cm-exec: warning: the query is empty (the runtime only sends JSON, such as {} or null)", err=True)
    elif (problem := json_problem(query)) is not None:
        hint = f"; for a text write '{json.dumps(query.decode())}'" if _WORD.fullmatch(query) else ""
        click.echo(
            f"cm-exec: warning: the query is not valid JSON (the runtime only sends JSON): {problem}{hint}", err=True
        )
    elif not function.check_queries and (problem := Validator(function).query_problem(query)) is not None:
        click.echo(f"cm-exec: warning: the query does not match `inputs`: {problem}", err=True)


def _warn_of_result(function: Function, result: bytes) -> None:
    if function.returns is None or function.check_results:
        return
    if (problem := Validator(function).result_problem(result)) is not None:
        click.echo(f"\ncm-exec: warning: the result does not match `returns`: {problem}", err=True)


def _read_query(query: str | None, query_file: Path | None) -> bytes:
    if query is not None and query_file is not None:
        raise click.UsageError("give the query as an argument or as --query-file, not both")
    if query is not None:
        text = os.fsencode(query)
        if json_problem(text) is not None and os.path.isfile(query):
            message = (
                f"{query!r} is the name of a file, not JSON; to send its content: --query-file {shlex.quote(query)}"
            )
            raise click.BadParameter(message, param_hint="QUERY")
        return text
    if query_file is not None:
        try:
            return read_file(query_file)
        except OSError as error:
            raise click.BadParameter(f"{query_file}: {error.strerror}", param_hint="--query-file") from None
    if sys.stdin is None:
        raise click.UsageError("there is no stdin to read the query from; give it as an argument or as --query-file")
    if sys.stdin.isatty():
        click.echo("cm-exec: reading the query from the terminal; end it with Ctrl-D", err=True)
    try:
        return read_all(_STDIN)
    except OSError as error:
        raise click.UsageError(f"stdin cannot be read: {error.strerror}") from None


def _exit_code(failure: Failure) -> int:
    if failure.reason is Reason.TIMEOUT:
        return _TIMED_OUT
    if failure.signal is not None:
        return 128 + _signal_number(failure.signal)
    return failure.exit_code or _FAILED


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[name]
    except KeyError:  # a real-time signal, such as SIG40
        return int(name.removeprefix("SIG"))
