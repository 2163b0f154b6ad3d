"""`cm-exec dev`: the runtime on a laptop, the worker against it, and a console. Imports the `dev` extra when called."""

from pathlib import Path
from typing import Final, Unpack

import click

from cm_exec.cli.extra import require_extra
from cm_exec.cli.options import config_option
from cm_exec.devserver.args import STYLES, DevOptions, DevOptionsDict

_EXTRA: Final = ("starlette", "uvicorn", "httptools", "trustme", "watchfiles")


@click.command(name="dev")
@config_option
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The port for calls and the console; 0: any.  [default: 8950]"
)
@click.option("--runtime-port", type=click.IntRange(0, 65535), default=0, help="The protocol's port.  [default: any]")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at a time.  [default: cm.toml's, else 1]")
@click.option(
    "--call-timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="How long a caller waits who does not say; 0: for ever.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="What goes wrong, such as latency=0.2, poll.503@0.1 or result.reset*3. Repeatable.",
)
@click.option(
    "--no-worker",
    "starts_worker",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Start no worker; print what another one, or a container, needs.",
)
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the worker's variables to FILE, as `docker run --env-file` reads them.",
)
@click.option(
    "--env-style",
    type=click.Choice(STYLES),
    default="modern",
    show_default=True,
    help="The variables of today's platform, or the connection file of older ones.",
)
@click.option(
    "--watch",
    "watched",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Restart the worker when this changes, too. Repeatable.",
)
@click.option(
    "--no-reload",
    "reloads",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not restart the worker when files change.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the console in the browser.")
def command(**options: Unpack[DevOptionsDict]) -> None:
    """Run the functions of cm.toml on a local runtime, with a web console.

    Starts a runtime as Foundry's and a worker against it, prints the console's address, and restarts the worker when
    cm.toml or a handler is saved. Call a function in the console, with `cm-exec invoke --dev FUNCTION`, or with curl.

    With --no-worker any other worker can be pointed at the runtime, whatever it is written in; it needs no cm.toml.
    """
    require_extra("dev", _EXTRA)
    from cm_exec.devserver.main import run_session  # noqa: PLC0415 - what it imports comes with the extra

    run_session(DevOptions(**options))
