"""What a command needs besides its options: the modules of an extra, the program of a worker."""

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

LOCAL_RUNTIME: Final = ("starlette", "uvicorn", "httptools", "trustme")


def require_extra(command: str, modules: Iterable[str]) -> None:
    """Raise click.UsageError, with the remedy, if one of the extra's modules is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"{command} needs {', '.join(missing)}. Install it on a machine with Python: pip install 'cm-exec[dev]'; "
            "the self-contained /opt/cm-exec contains only what a worker needs"
        )


def require_program(worker_command: Sequence[str]) -> None:
    """Raise click.UsageError, with the remedy, if the command of a worker cannot be started."""
    from cm_exec.preflight.command import check_command  # noqa: PLC0415 - help and completion do not need it

    _, problem = check_command(worker_command, Path.cwd(), os.environ.get("PATH", os.defpath))
    if problem is not None:
        raise click.UsageError(problem.message)
