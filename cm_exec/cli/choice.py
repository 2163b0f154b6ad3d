"""Types of values on the command line."""

import math
from pathlib import Path
from typing import Any

import click

from cm_exec.text import did_you_mean


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


class HeaderFile(click.Path):
    """A file with the value of an HTTP header, such as a secret that must not be on a command line."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the content. Raises click.BadParameter."""
        path = Path(str(super().convert(value, param, ctx)))
        try:
            text = path.read_bytes().decode().strip()
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}", ctx, param) from None
        except UnicodeDecodeError:
            raise click.BadParameter(f"{path}: expected UTF-8", ctx, param) from None
        if not text.isprintable() or not text:
            raise click.BadParameter(f"{path}: expected one line of text", ctx, param)
        return text
