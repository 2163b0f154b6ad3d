"""The command line as click describes it, for the reference and the man pages."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from cm_exec.cli.program import COMMANDS, program

_LONGEST_VALUE: Final = 30
_DEFAULT_IN_HELP: Final = re.compile(r"\s*\[default: (?P<words>[^\]]+)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An option or an argument.

    `names` is how it is written, such as ("-c", "--config"); `value` what follows, such as "PATH", empty for a flag;
    `default` and `variable` are empty if there is none.
    """

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    variable: str
    repeatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A command. `usage` is without "Usage: "; `about` is its help in paragraphs; `short` is one line."""

    name: str
    usage: str
    short: str
    about: tuple[str, ...]
    options: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`cm-exec` itself and its commands."""

    about: tuple[str, ...]
    options: tuple[Parameter, ...]
    verbs: tuple[Verb, ...]


def read_program() -> Program:
    """Return the whole program, with the commands in the order of the help."""
    context = click.Context(program, info_name="cm-exec", **program.context_settings)
    names = program.list_commands(context)
    return Program(
        about=_paragraphs(program.help),
        options=tuple(_options(program, context)),
        verbs=tuple(_verb(name, context) for name in names),
    )


def _verb(name: str, parent: click.Context) -> Verb:
    command = program.get_command(parent, name)
    if command is None:
        raise LookupError(name)
    context = click.Context(command, info_name=name, parent=parent)
    about = _paragraphs(command.help)
    return Verb(
        name=name,
        usage=f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}",
        short=COMMANDS[name],
        about=about,
        options=tuple(_options(command, context)),
    )


def _options(command: click.Command, context: click.Context) -> Iterator[Parameter]:
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield _option(parameter, context)


def _option(option: click.Option, context: click.Context) -> Parameter:
    text = " ".join((option.help or "").split())
    in_help = _DEFAULT_IN_HELP.search(text)
    return Parameter(
        names=(*option.opts, *option.secondary_opts),
        value="" if option.is_flag else _value(option, context),
        help=_DEFAULT_IN_HELP.sub("", text) + _choices(option),
        default=in_help["words"] if in_help else _default(option),
        variable=option.envvar if isinstance(option.envvar, str) else "",
        repeatable=option.multiple,
    )


def _value(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        choices = "|".join(map(str, option.type.choices))
        return choices if len(choices) <= _LONGEST_VALUE else max(option.opts, key=len).strip("-").upper()
    if option.metavar is None and isinstance(option.type, click.IntRange | click.FloatRange):
        return "N"
    return option.make_metavar(context)


def _choices(option: click.Option) -> str:
    """Return the choices in words if they are too many for the option's value."""
    if not isinstance(option.type, click.Choice) or len("|".join(option.type.choices)) <= _LONGEST_VALUE:
        return ""
    return f" One of {', '.join(option.type.choices)}."


def _default(option: click.Option) -> str:
    shown: Any = option.show_default
    return str(option.default) if shown and not option.is_flag else ""


def _paragraphs(text: str | None) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n"))
