"""`cm-exec conform`: play the protocol and its faults against a worker of any kind."""

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from cm_exec.cli.options import FiniteRange, env_style_option, require_program
from cm_exec.errors import require_extra

if TYPE_CHECKING:
    from cm_exec.local_runtime.worker_files import Style

_INTERRUPTED: Final = 130


@click.command(name="conform", context_settings={"allow_interspersed_args": False})
@click.argument("worker_command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@env_style_option
@click.option("--jobs", type=click.IntRange(min=1), default=4, show_default=True, help="Rules played concurrently.")
@click.option(
    "--start-timeout",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="Time from the worker's start to its first poll.",
)
def command(
    worker_command: tuple[str, ...], as_json: bool, env_style: "Style", jobs: int, start_timeout: float
) -> None:
    """Check that COMMAND is a worker that keeps the compute module protocol.

    The command must serve a function `echo` that returns its query. It is started again for each rule, against a
    runtime that answers late, refuses, breaks connections, rotates the token, or asks it to end. Prints what it did.

    The exit status is 0 if all rules hold, 1 if not, and 130 after Ctrl-C.
    """
    require_extra("conform")
    from cm_exec.conformance import Conformance, print_result, summary  # noqa: PLC0415 - it needs the extra
    from cm_exec.terminal import Terminal  # noqa: PLC0415

    require_program(worker_command)
    terminal = Terminal()
    began = time.monotonic()
    conformance = Conformance(
        worker_command,
        env_style,
        jobs=jobs,
        start_timeout=start_timeout,
        on_result=lambda result: None if as_json else print_result(terminal, result),
    )
    interrupted = False
    try:
        conformance.play()
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - began
    if as_json:
        found = {"command": list(worker_command), "holds": conformance.holds, "seconds": round(seconds, 1)}
        click.echo(json.dumps({**found, "rules": [result.json() for result in conformance.results]}, indent=2))
    else:
        terminal.write(f"\n{summary(conformance)}, in {seconds:.0f} s")
    if interrupted:
        sys.stdout.flush()
        os._exit(_INTERRUPTED)  # threads may still wait for a worker
    sys.exit(0 if conformance.holds else 1)
