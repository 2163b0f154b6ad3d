"""Choices on the command line whose errors suggest the nearest value."""

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
