"""Options that several commands share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click.core import ParameterSource
from msgspec import UNSET
from msgspec.structs import FieldInfo

from cm_exec.cli.choice import FiniteRange
from cm_exec.config import Config, load_config, with_overrides
from cm_exec.config.schema import LauncherTable
from cm_exec.config.schema.key_spec import key_spec

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

dev_options: Final = (
    click.option("--dev", is_flag=True, help="Send queries to the running `cm-exec dev` of this cm.toml."),
    click.option(
        "--dev-url",
        metavar="URL",
        envvar="CM_EXEC_DEV_URL",
        show_envvar=True,
        help="Send queries to the `cm-exec dev` at this address, such as http://127.0.0.1:8950.",
    ),
)


def asks_dev(dev: bool) -> bool:
    """Return whether `cm-exec dev` is asked: by --dev, or by --dev-url on the command line, not by its variable."""
    source = click.get_current_context().get_parameter_source("dev_url")
    return dev or source is ParameterSource.COMMANDLINE


def launcher_options(function: Decorated) -> Decorated:
    """Add every `[launcher]` key as an option and as the variable CM_EXEC_<KEY>."""
    for field in reversed(msgspec.structs.fields(LauncherTable)):
        function = _launcher_option(field)(function)
    return function


def _launcher_option(field: FieldInfo) -> Callable[[Decorated], Decorated]:
    spec = key_spec(field.type)
    name = field.name.replace("_", "-")
    (kind,) = spec.types
    type_: click.ParamType[Any] | None = click.Choice(spec.choices) if spec.choices else None
    if kind is int:
        type_ = click.IntRange(min=1)
    elif kind is float:
        type_ = FiniteRange(min=0)
    default = spec.default_text if field.default is UNSET else _default_text(field.default)
    return click.option(
        f"--{name}/--no-{name}" if kind is bool else f"--{name}",
        type=type_,
        default=None,
        metavar={float: "SECONDS", str: "NAME"}.get(kind),
        help=f"{spec.description}  [default: {default}]",
        envvar=f"CM_EXEC_{field.name.upper()}",
        show_envvar=True,
    )


def _default_text(default: object) -> str:
    match default:
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def configured(path: Path, overrides: Mapping[str, Any]) -> Config:
    """Return the configuration with the options' values. Raises ConfigError, click.UsageError."""
    config = load_config(path)
    try:
        return with_overrides(config, **overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
