"""Proposals for the shell's completion."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomli

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def matching_commands(commands: Mapping[str, str], incomplete: str) -> list["CompletionItem[str]"]:
    """Return the commands that start with a text, with their descriptions."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a TAB needs it

    return [CompletionItem(name, help=text) for name, text in commands.items() if name.startswith(incomplete)]


def function_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the functions of cm.toml that start with a text, also if the file has errors elsewhere."""
    path = Path(ctx.params.get("config_path") or os.environ.get("CM_EXEC_CONFIG") or "cm.toml")
    try:
        functions = tomli.loads(path.read_text(encoding="utf-8-sig")).get("functions")
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in functions if name.startswith(incomplete)] if isinstance(functions, dict) else []
