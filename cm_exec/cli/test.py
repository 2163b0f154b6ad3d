"""`cm-exec test`: runs the tests of cm.toml."""

import sys
from pathlib import Path
from typing import Any

import click

from cm_exec.cli.options import (
    asks_dev,
    config_option,
    dev_options,
    function_names,
    require_program,
)
from cm_exec.config.schema.keys import MAX_SLOTS
from cm_exec.errors import require_extra


class TestCommand(click.Command):
    """Takes what stands after two hyphens as the command of a worker."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Separate the names from the command, which click would join."""
        at = args.index("--") if "--" in args else len(args)
        ctx.params["worker_command"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name the command in the usage."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(name="test", cls=TestCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=function_names)
@config_option
@click.option(
    "--jobs",
    "slots",
    type=click.IntRange(1, MAX_SLOTS),
    metavar="N",
    help="Number of concurrent tests.  [default: the concurrency in cm.toml, else the number of cores]",
)
@click.option("--fail-fast", is_flag=True, help="Start no further test after one has failed.")
@click.option(
    "--junit",
    "junit_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write the results to FILE, as JUnit XML.",
)
@dev_options
def command(**options: Any) -> None:
    """Run the tests of cm.toml, or only those that NAME selects: a function, or a part of a test's title.

    Each [[tests]] table has a function, a query, and the expected outcome: a result or an error. The job runs as
    `run` would run it, in the function's own mode; the tests of a persistent function share its processes.

    With --dev, or with the COMMAND of a worker of any kind, another program runs the functions of the same names.

    The exit status is 0 if all passed, 1 if one failed, 2 if there is no test, 3 if cm.toml is invalid or a file of a
    test is missing, and 130 after Ctrl-C.
    """
    from cm_exec.function_tests.session import FunctionTestArgs, run_session  # noqa: PLC0415 - help needs none of it

    options["dev"] = asks_dev(options["dev"])
    if options["worker_command"] and options["dev"]:
        raise click.UsageError("give --dev or a command, not both")
    if options["worker_command"]:
        require_extra("test with a command")
        require_program(options["worker_command"])
    sys.exit(run_session(FunctionTestArgs(**options)))
