"""`cm-exec check`: whether cm.toml and the programs that it names are as they should be."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from cm_exec.cli.options import config_option
from cm_exec.config import Config, ConfigError, Function, load_config
from cm_exec.handlers.environment import function_environment, launcher_environment


class UnresolvedError(Exception):
    """cm.toml is well formed and names what is not there."""

    exit_code = ConfigError.exit_code


@click.command(name="check")
@config_option
def command(config_path: Path) -> None:
    """Check cm.toml, look for each function's program, and print what would run.

    All mistakes are listed; the exit code is 3 if there is one.
    """
    config = load_config(config_path)
    checked = [check_function(function) for function in config.functions.values()]
    click.echo(_table(config, checked))
    wrong = [f"{config_path}: functions.{c.function.name}: {c.problem}" for c in checked if c.problem]
    if wrong:
        raise UnresolvedError("\n".join(wrong))
    click.echo(f"{config_path}: {len(checked)} function{'s' if len(checked) != 1 else ''}, all can be started")


@dataclass(frozen=True, slots=True)
class Checked:
    """A function with the program that was found for it, or what is wrong."""

    function: Function
    program: str
    problem: str


def check_function(function: Function) -> Checked:
    """Look for what a function needs, as its process would: with its folder, environment and PATH."""
    if not function.cwd.is_dir():
        return Checked(function, "-", f"cwd: the folder {str(function.cwd)!r} does not exist")
    environment = function_environment(function, launcher_environment())
    find = _find_in_shell if isinstance(function.command, str) else _find
    program, problem = find(function, environment)
    return Checked(function, program or "-", problem)


def _find(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    name = function.argv[0]
    if "/" in name:
        path = function.cwd / name
        if not path.exists():
            return "", f"command: {str(path)!r} does not exist"
        if path.is_dir() or not os.access(path, os.X_OK):
            return "", f"command: {str(path)!r} is not executable; chmod +x it, or name its interpreter"
        return str(path), ""
    found = shutil.which(name, path=os.fsdecode(environment.get(b"PATH", os.defpath.encode())))
    return found or "", "" if found else f"command: {name!r} is not found in PATH"


def _find_in_shell(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Let the shell itself judge its syntax and find the first word, which may be a builtin."""
    text = str(function.command)
    syntax = _shell(["-n", "-c", text], function, environment)
    if syntax.returncode:
        return "", f"command: the shell does not understand it: {syntax.stderr.strip()}"
    first = text.split(maxsplit=1)[0]
    if not all(character.isalnum() or character in "_-./+" for character in first):
        return "/bin/sh", ""  # an assignment, a quote or a bracket: only running it tells
    found = _shell(["-c", 'command -v -- "$1"', "sh", first], function, environment)
    return found.stdout.strip(), "" if found.returncode == 0 else f"command: the shell finds no {first!r}"


def _shell(
    arguments: list[str], function: Function, environment: Mapping[bytes, bytes]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", *arguments],
        env=environment,
        cwd=function.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=10,
    )


def _table(config: Config, checked: list[Checked]) -> str:
    head = ("FUNCTION", "PROGRAM", "TIMEOUT", "MAX OUTPUT", "OUTPUT", "AT A TIME")
    slots = config.launcher.concurrency
    rows = [head, *(_row(c, str(slots) if slots else "all slots") for c in checked)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(checked: Checked, slots: str) -> tuple[str, ...]:
    function = checked.function
    return (
        function.name,
        checked.program if not checked.problem else "NOT FOUND",
        f"{function.timeout:g} s" if function.timeout else "none",
        _size(function.max_output),
        function.output,
        str(function.max_concurrency) if function.max_concurrency else slots,
    )


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % factor == 0 and size:
            return f"{size // factor} {unit}"
    return f"{size} B"
