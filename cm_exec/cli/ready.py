"""`cm-exec ready`: an exec probe."""

import os
import sys

import click

from cm_exec.worker.readiness import worker_is_ready


@click.command(name="ready")
def command() -> None:
    """Exit with status 0 if the worker of this container polls for jobs, else with 1.

    Use it as the readiness probe of the container: the status is 1 until every service is ready, and while the worker
    drains. It needs no writable file system, and works for any user.
    """
    if worker_is_ready(os.environ):
        sys.exit(0)
    click.echo("cm-exec: not ready: no worker of this container polls for jobs", err=True)
    sys.exit(1)
