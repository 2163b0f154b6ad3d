"""The modules that `pip install 'cm-exec[dev]'` installs."""

import importlib.util
from collections.abc import Iterable

import click


def require_extra(command: str, modules: Iterable[str]) -> None:
    """Raise click.UsageError, with the remedy, if one of the extra's modules is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"{command} needs {', '.join(missing)}. Install it on a machine with Python: pip install 'cm-exec[dev]'; "
            "the self-contained /opt/cm-exec contains only what a worker needs"
        )
