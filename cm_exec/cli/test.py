"""`cm-exec test`: the tests of cm.toml."""

import sys
from pathlib import Path
from typing import Unpack

import click

from cm_exec.cli.completion import function_names
from cm_exec.cli.options import config_option
from cm_exec.config.tables import MAX_SLOTS
from cm_exec.function_tests.options import Asked, RunOptions


@click.command(name="test")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=function_names)
@config_option
@click.option(
    "--jobs",
    "slots",
    type=click.IntRange(1, MAX_SLOTS),
    metavar="N",
    help="Tests at a time.  [default: the concurrency in cm.toml, else the cores of this machine]",
)
@click.option("--fail-fast", is_flag=True, help="Start no further test when one has failed.")
@click.option(
    "--junit",
    "junit_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the outcome to FILE, too, as JUnit's XML.",
)
def command(**options: Unpack[Asked]) -> None:
    """Run the tests of cm.toml, or only those that NAME means: a function, or a part of a test's name.

    Each [[tests]] table has a function, a query, and what is expected of the job: a result or an error. The job runs
    as `run` would run it, in the function's own mode; the tests of a persistent function share its processes.

    The exit status is 0 if all passed, 1 if one failed, 2 if there is no test, 3 if cm.toml is wrong or a file of a
    test is missing, and 130 after Ctrl-C.
    """
    from cm_exec.function_tests.session import run_session  # noqa: PLC0415 - help needs none of it

    sys.exit(run_session(RunOptions(**options)))
