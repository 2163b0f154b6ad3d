"""Options that several commands share, types of their values, completion, and what a command needs besides options."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import tomli
from click.core import ParameterSource
from msgspec import UNSET
from msgspec.structs import FieldInfo

from cm_exec.config import Config
from cm_exec.config.load import load_config, read_file, with_overrides
from cm_exec.config.schema import LauncherTable
from cm_exec.config.schema.keys import key_spec
from cm_exec.text import did_you_mean


def require_program(worker_command: Sequence[str]) -> None:
    """Raise click.UsageError, with the remedy, if the command of a worker cannot be started."""
    from cm_exec.preflight import check_command  # noqa: PLC0415 - help and completion do not need it

    folder = Path.cwd()
    try:
        _, problem = check_command(worker_command, folder, os.environ.get("PATH", os.defpath))
    except OSError as error:
        raise click.UsageError(f"{str(error.filename)[:100]!r} cannot be inspected: {error.strerror}") from None
    if problem is not None:
        raise click.UsageError(problem.message)


class SuggestingChoice(click.Choice[str]):
    """A choice whose error names the nearest value, if one is similar."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value. Raises click.BadParameter with a suggestion and all values."""
        if value in self.choices:
            return str(value)
        hint = did_you_mean(str(value), self.choices, quote=repr)
        known = ", ".join(map(repr, self.choices))
        raise click.BadParameter(f"{value!r} is not one of {known}{f'; {hint}' if hint else ''}", ctx, param)


class FiniteRange(click.FloatRange):
    """A range of numbers, without NaN and infinity, which lie in click's ranges."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            raise click.BadParameter(f"{value!r} is not a number", ctx, param)
        return number


class HeaderText(click.ParamType[str]):
    """A text that an HTTP header can have as its value."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text. Raises click.BadParameter."""
        if not str(value).isprintable():  # as halves of surrogate pairs, which stand for bytes that are not UTF-8, are
            raise click.BadParameter(f"expected one line of UTF-8 text, found {value!r}", ctx, param)
        return str(value)


_LONGEST_HEADER: Final = 64 * 1024


class HeaderFile(click.Path):
    """A file with the value of an HTTP header, such as a secret that must not be on a command line."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the content. Raises click.BadParameter."""
        path = Path(str(super().convert(value, param, ctx)))
        try:
            text = read_file(path, _LONGEST_HEADER).decode().strip()
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}", ctx, param) from None
        except UnicodeDecodeError:
            raise click.BadParameter(f"{path}: expected UTF-8", ctx, param) from None
        if not text.isprintable() or not text:
            raise click.BadParameter(f"{path}: expected one line of text", ctx, param)
        return text


def function_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the functions of cm.toml that start with a text, also if the file has errors elsewhere."""
    path = Path(ctx.params.get("config_path") or os.environ.get("CM_EXEC_CONFIG") or "cm.toml")
    try:
        functions = tomli.loads(path.read_text(encoding="utf-8-sig")).get("functions")
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in functions if name.startswith(incomplete)] if isinstance(functions, dict) else []


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

env_style_option: Final = click.option(
    "--env-style",
    type=click.Choice(("modern", "connection-file")),
    default="modern",
    show_default=True,
    help="Variables of today's platform, or the connection file of older ones.",
)


def dev_options(function: Decorated) -> Decorated:
    """Add the options that choose a running `cm-exec dev`."""
    function = click.option(
        "--dev-url",
        metavar="URL",
        envvar="CM_EXEC_DEV_URL",
        show_envvar=True,
        help="Send queries to the `cm-exec dev` at this address, such as http://127.0.0.1:8950.",
    )(function)
    help_ = "Send queries to the running `cm-exec dev` of this cm.toml."
    return click.option("--dev", is_flag=True, help=help_)(function)


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
