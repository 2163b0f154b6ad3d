"""`cm-exec run`: the worker."""

import gc
from pathlib import Path
from typing import Unpack

import click

from cm_exec.cli.options import config_option, launcher_options
from cm_exec.config import LauncherOverrides


@click.command(name="run")
@config_option
@launcher_options
def command(config_path: Path, **overrides: Unpack[LauncherOverrides]) -> None:
    """Work for the runtime until SIGTERM.

    The log goes to stdout, since that is what the platform collects. SIGTERM or SIGINT drain: no new job is asked
    for, and the jobs in hand are answered within the drain timeout. A second one ends at once.
    """
    gc.disable()  # as in program.py: what is imported stays
    from cm_exec.cli.launch import launch  # noqa: PLC0415 - help and completion need no HTTPS client

    gc.freeze()
    gc.enable()
    launch(config_path, overrides)
