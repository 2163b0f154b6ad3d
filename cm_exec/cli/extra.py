"""Commands that need what `pip install 'cm-exec[dev]'` brings."""

import importlib.util
from collections.abc import Iterable

import click


def need_extra(command: str, modules: Iterable[str]) -> None:
    """Raise click.UsageError, with the remedy, where one of the extra's modules is not there."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"{command} needs {', '.join(missing)}, which come with: pip install 'cm-exec[dev]', "
            "on a machine with Python; the self-contained /opt/cm-exec has only what a worker needs"
        )
