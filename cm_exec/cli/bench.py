"""`cm-exec bench`: how fast one's own handlers are in each mode. Imports the `dev` extra when called."""

import sys
from typing import Final, Unpack

import click

from cm_exec.bench.options import MODES, Asked, BenchOptions, read_counts
from cm_exec.cli.completion import function_names
from cm_exec.cli.extra import need_extra
from cm_exec.cli.options import config_option

_EXTRA: Final = ("starlette", "uvicorn", "httptools", "trustme")


@click.command(name="bench")
@click.argument("functions", nargs=-1, metavar="[FUNCTION]...", shell_complete=function_names)
@config_option
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(MODES),
    help="Only this mode. Repeatable.  [default: all that the function can have]",
)
@click.option(
    "--concurrency",
    callback=read_counts,
    default="1,4",
    show_default=True,
    metavar="N,...",
    help="The numbers of slots to measure with.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=2.0,
    show_default=True,
    help="How long each measurement takes, less its start.",
)
@click.option("--query", metavar="JSON", help="The query.  [default: query.json beside cm.toml, else {}]")
@click.option(
    "--query-file",
    "query_files",
    multiple=True,
    metavar="[FUNCTION=]FILE",
    help="Take the query, or that of one function, from FILE. Repeatable.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="JOBS/S",
    help="Say how many replicas bear so many jobs per second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers and the advice as JSON.")
def command(**options: Unpack[Asked]) -> None:
    """Measure the functions of cm.toml, or only FUNCTION, on a local runtime.

    Each function is run in each mode that it can have and with each number of slots: by a worker as in production,
    with its own cm.toml, against a runtime on this machine. cm.toml itself is not touched.

    A function that fails is told with its error and not measured; the exit status is then 1. After Ctrl-C what was
    measured is shown; the exit status is then 130.
    """
    need_extra("bench", _EXTRA)
    from cm_exec.bench.session import run_session  # noqa: PLC0415 - what it imports comes with the extra

    sys.exit(run_session(BenchOptions(**options)))
