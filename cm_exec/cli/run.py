"""`cm-exec run`: the worker."""

import gc
from pathlib import Path
from typing import Any

import click

from cm_exec.cli.options import config_option, configured, launcher_options


@click.command(name="run")
@config_option
@launcher_options
def command(config_path: Path, **overrides: Any) -> None:
    """Run the worker until SIGTERM.

    The log goes to stdout, since the platform collects that. SIGTERM, SIGINT, SIGHUP and SIGQUIT drain: the worker
    asks for no new job and answers the jobs in progress within the drain timeout. A second signal ends it at once.
    """
    gc.disable()  # collections during imports take time and free nothing
    from cm_exec.worker.main import run_worker  # noqa: PLC0415 - help and completion need no HTTPS client

    gc.freeze()
    gc.enable()
    run_worker(configured(config_path, overrides))
