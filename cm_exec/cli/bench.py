"""`cm-exec bench`: measures functions in each mode. Imports the `dev` extra when called."""

import sys
from pathlib import Path
from typing import Any, get_args

import click

from cm_exec.cli.options import (
    FiniteRange,
    SuggestingChoice,
    config_option,
    function_names,
)
from cm_exec.config import Mode
from cm_exec.config.schema.keys import MAX_SLOTS
from cm_exec.errors import require_extra


def read_counts(_context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Parse numbers of slots, such as `1,4`, in ascending order without duplicates. Raises click.BadParameter."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and 1 <= int(word[:9]) <= MAX_SLOTS for word in words):
        message = f"expected integers from 1 to {MAX_SLOTS}, separated by commas, such as 1,4"
        raise click.BadParameter(message, param=parameter)
    return tuple(sorted({int(word) for word in words}))


@click.command(name="bench")
@click.argument("functions", nargs=-1, metavar="[FUNCTION]...", shell_complete=function_names)
@config_option
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=SuggestingChoice(get_args(Mode)),
    help="Measure only this mode. Repeatable.  [default: all modes that the function can have]",
)
@click.option(
    "--concurrency",
    callback=read_counts,
    default="1,4",
    show_default=True,
    metavar="N,...",
    help="Numbers of slots to measure with.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0.1, 600),
    default=2.0,
    show_default=True,
    help="Duration of each measurement, excluding start-up.",
)
@click.option("--query", metavar="JSON", help="The query.  [default: query.json beside cm.toml, else {}]")
@click.option(
    "--query-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take the query from FILE.",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    metavar="JOBS/S",
    help="Estimate the replicas needed for this many jobs per second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers and the advice as JSON.")
def command(**options: Any) -> None:
    """Measure the functions of cm.toml, or only FUNCTION, on a local runtime.

    Runs each function in each mode that it can have and with each number of slots: by a worker as in production,
    connected to a runtime on this machine. cm.toml itself is not changed.

    A function that fails is reported with its error and skipped; the exit status is then 1. Ctrl-C prints the
    results so far; the exit status is then 130.
    """
    require_extra("bench")
    from cm_exec.bench import BenchArgs, run_session  # noqa: PLC0415 - what it imports comes with the extra

    sys.exit(run_session(BenchArgs(**options)))
