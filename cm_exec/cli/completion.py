"""What a shell proposes at TAB."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomli

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def matching_commands(commands: Mapping[str, str], incomplete: str) -> list["CompletionItem[str]"]:
    """The commands that begin so, with what each does."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a TAB needs it

    return [CompletionItem(name, help=text) for name, text in commands.items() if name.startswith(incomplete)]


def function_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The functions of cm.toml that begin so. The file is not checked: a mistake in it is no reason to be silent."""
    return [name for name in _functions(_config_path(ctx)) if name.startswith(incomplete)]


def _config_path(ctx: click.Context) -> Path:
    return Path(ctx.params.get("config_path") or os.environ.get("CM_EXEC_CONFIG") or "cm.toml")


def _functions(path: Path) -> Iterator[str]:
    try:
        functions = tomli.loads(path.read_text(encoding="utf-8-sig")).get("functions")
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(functions, dict):
        yield from functions
