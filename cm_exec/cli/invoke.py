"""`cm-exec invoke`: one query through a function, by the code that `run` uses."""

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from cm_exec.cli.completion import function_names
from cm_exec.cli.logs import start_log
from cm_exec.cli.options import config_option
from cm_exec.cli.supervision import end_jobs, supervise
from cm_exec.config import load_config
from cm_exec.config.types import Function
from cm_exec.handlers.contract import query_problem, result_problem
from cm_exec.handlers.environment import launcher_environment
from cm_exec.handlers.handler import Handler, Outcome, Result, Stream, Surroundings
from cm_exec.handlers.modes import create_handlers
from cm_exec.handlers.spool import CutOffError, spool_directory
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import Failure, Reason, error_body
from cm_exec.protocol.job import Job
from cm_exec.protocol.json_text import json_problem
from cm_exec.protocol.nearest import nearest

_STDOUT, _STDERR = 1, 2
_TIMED_OUT = 124
_FAILED = 1


@click.command(name="invoke")
@click.argument("function", shell_complete=function_names)
@click.argument("query", required=False)
@click.option(
    "--query-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the query from this file.",
)
@config_option
@click.option("--dev", is_flag=True, help="Send the query to the `cm-exec dev` that runs.")
@click.option(
    "--dev-url",
    metavar="URL",
    envvar="CM_EXEC_DEV_URL",
    show_envvar=True,
    help="With --dev: the one at this address, such as http://127.0.0.1:8950.",
)
def command(  # noqa: PLR0917 - click's way
    function: str, query: str | None, query_file: Path | None, config_path: Path, dev: bool, dev_url: str | None
) -> None:
    """Run one QUERY through FUNCTION, as `run` would, with no runtime.

    The query is the argument, or --query-file, or else stdin; it is handed on byte for byte. stdout is exactly what
    would be posted as the result, stderr is the command's own.

    The exit status is the command's: 124 if it ran into its timeout, 126 or 127 if it could not be started, 128+n if
    signal n ended it, and 1 if its output is not as cm.toml says.
    """
    if dev:
        from cm_exec.devserver.client import call_dev  # noqa: PLC0415 - an HTTP client is not needed otherwise

        sys.exit(call_dev(function, _read_query(query, query_file), url=dev_url, config_path=config_path))
    config = load_config(config_path)
    if function not in config.functions:
        raise click.BadParameter(_unknown(function, config.functions), param_hint="FUNCTION")
    text = _read_query(query, query_file)
    _check_query(config.functions[function], text)
    start_log(_STDERR, "text", "warning")
    surroundings = Surroundings(environment=launcher_environment(), spool_directory=spool_directory(), stop=StopNow())
    handler = create_handlers([config.functions[function]], surroundings, slots=1)[function]
    job = Job(job_id=_job_id(), query_type=function, query=text)
    invocation = Invocation(config.functions[function], handler, job, surroundings)
    supervise(invocation.work, invocation.signalled)
    sys.exit(invocation.exit_code)


class Invocation:
    """One job, run without a runtime."""

    def __init__(self, function: Function, handler: Handler, job: Job, surroundings: Surroundings) -> None:
        self._function = function
        self._handler = handler
        self._job = job
        self._surroundings = surroundings
        self._signal = 0
        self.exit_code = 0

    def work(self) -> None:
        """Run the job and write to stdout what would be posted."""
        self._handler.open()
        try:
            with self._handler.run(self._job, _pass_on) as outcome:
                self._write(outcome)
        finally:
            self._handler.close()

    def _write(self, outcome: Outcome) -> None:
        if isinstance(outcome, Stream):
            with suppress(CutOffError):
                _write(outcome.spool.live_chunks())
            outcome = outcome.ended()
        elif isinstance(outcome, Result):
            _write(outcome.spool.chunks())
            _check_result(self._function, outcome)
        if isinstance(outcome, Failure):
            _write([error_body(outcome, job_id=self._job.job_id, query_type=self._job.query_type)])
            click.echo(f"\ncm-exec: {outcome.message} ({outcome.reason})", err=True)
            self.exit_code = 128 + self._signal if self._signal else _exit_code(outcome)

    def signalled(self, which: signal.Signals, how_often: int) -> None:
        """End the command at the first signal, without asking at the second."""
        self._signal = which
        if how_often > 1:
            self.exit_code = 128 + which
        end_jobs(self._surroundings, how_often)


def _check_query(function: Function, query: bytes) -> None:
    """Tell of a query that is not as it should be; where it is a failure, it is told as one."""
    if (problem := json_problem(query)) is not None:
        click.echo(f"cm-exec: note: the query is not JSON, as the runtime's queries are: {problem}", err=True)
    elif not function.check_queries and (problem := query_problem(function, query)) is not None:
        click.echo(f"cm-exec: note: the query does not fit inputs: {problem}", err=True)


def _check_result(function: Function, result: Result) -> None:
    if function.returns is None or function.check_results:
        return
    if (problem := result_problem(function, result.spool.getvalue())) is not None:
        click.echo(f"\ncm-exec: note: the result is not what returns says: {problem}", err=True)


def _unknown(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"cm.toml has {', '.join(map(repr, known))}"
    return f"no function {name!r}; {hint}"


def _read_query(query: str | None, query_file: Path | None) -> bytes:
    if query is not None and query_file is not None:
        raise click.UsageError("give the query as an argument or as --query-file, not both")
    if query is not None:
        return os.fsencode(query)
    if query_file is not None:
        try:
            return query_file.read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{query_file}: {error.strerror}", param_hint="--query-file") from None
    if sys.stdin is None:
        raise click.UsageError("there is no stdin to read the query from; give it as an argument or as --query-file")
    if sys.stdin.isatty():
        click.echo("cm-exec: reading the query from the terminal; end it with Ctrl-D", err=True)
    return sys.stdin.buffer.read()


def _job_id() -> str:
    return f"local-{os.urandom(8).hex()}"


def _pass_on(chunk: bytes) -> None:
    _write_all(_STDERR, chunk)


def _write(chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        _write_all(_STDOUT, chunk)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


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
