"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_args

import click

from cm_exec.config import Config, LauncherOverrides, LogFormat, LogLevel, load_config, with_overrides

Decorated = Callable[..., Any]

config_option: Final = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("cm.toml"),
    show_default=True,
    envvar="CM_EXEC_CONFIG",
    show_envvar=True,
    help="The file that maps functions to commands.",
)

_LAUNCHER_OPTIONS: Final = (
    click.option(
        "--concurrency",
        type=click.IntRange(min=1),
        help="Jobs at a time.  [default: MAX_CONCURRENT_TASKS, else 1]",
        envvar="CM_EXEC_CONCURRENCY",
        show_envvar=True,
    ),
    click.option(
        "--drain-timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Time for the jobs in hand after SIGTERM.  [default: 25]",
        envvar="CM_EXEC_DRAIN_TIMEOUT",
        show_envvar=True,
    ),
    click.option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        help="text for people, sls for Foundry's structured logs.  [default: text]",
        envvar="CM_EXEC_LOG_FORMAT",
        show_envvar=True,
    ),
    click.option(
        "--log-level",
        type=click.Choice(get_args(LogLevel)),
        help="The least level that is logged.  [default: info]",
        envvar="CM_EXEC_LOG_LEVEL",
        show_envvar=True,
    ),
    click.option(
        "--tls-server-name",
        metavar="NAME",
        help="The name to find in the runtime's certificate, where it is not the URI's host.",
        envvar="CM_EXEC_TLS_SERVER_NAME",
        show_envvar=True,
    ),
)


def launcher_options(function: Decorated) -> Decorated:
    """Every `[launcher]` key as an option and as CM_EXEC_<KEY>."""
    for option in reversed(_LAUNCHER_OPTIONS):
        function = option(function)
    return function


def configured(path: Path, overrides: LauncherOverrides) -> Config:
    """The configuration with the options' values. Raises ConfigError, click.UsageError."""
    config = load_config(path)
    try:
        return with_overrides(config, **overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
