"""`cm-exec conform`: play the protocol and its faults against a worker of any kind."""

import json
import shutil
import sys
import time
from typing import Final

import click

from cm_exec.cli.extra import require_extra
from cm_exec.devserver.args import STYLES, Style

_EXTRA: Final = ("starlette", "uvicorn", "httptools", "trustme")


@click.command(name="conform", context_settings={"allow_interspersed_args": False})
@click.argument("worker_command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    "--env-style",
    type=click.Choice(STYLES),
    default="modern",
    show_default=True,
    help="Variables of today's platform, or the connection file of older ones.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=4, show_default=True, help="Rules played concurrently.")
def command(worker_command: tuple[str, ...], as_json: bool, env_style: Style, jobs: int) -> None:
    """Check that COMMAND is a worker that keeps the compute module protocol.

    The command must serve a function `echo` that returns its query. It is started again for each rule, against a
    runtime that answers late, refuses, breaks connections, rotates the token, or asks it to end. Prints what it did.

    The exit status is 0 if all rules hold, and 1 if not.
    """
    require_extra("conform", _EXTRA)
    from cm_exec.conformance.report import play_all, print_result  # noqa: PLC0415 - what it imports comes with the extra
    from cm_exec.terminal import Terminal  # noqa: PLC0415
    from cm_exec.text import count_text  # noqa: PLC0415

    if shutil.which(worker_command[0]) is None:
        raise click.UsageError(f"command not found: {worker_command[0]}")
    terminal = Terminal()
    began = time.monotonic()
    results = play_all(
        worker_command,
        env_style,
        jobs=jobs,
        on_result=lambda result: None if as_json else print_result(terminal, result),
    )
    broken = sum(not result.holds for result in results)
    seconds = time.monotonic() - began
    if as_json:
        summary = {"command": list(worker_command), "holds": not broken, "seconds": round(seconds, 1)}
        click.echo(json.dumps({**summary, "rules": [result.json() for result in results]}, indent=2))
    else:
        verdict = f"{broken} broken" if broken else "all hold"
        terminal.write(f"\n{count_text(len(results), 'rule')}: {verdict}, in {seconds:.0f} s")
    sys.exit(1 if broken else 0)
