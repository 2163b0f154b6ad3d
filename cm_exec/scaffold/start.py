"""`cm-exec init` at work: plan, look, write, and say what comes next."""

import re
from typing import Final

import click
import msgspec

from cm_exec.config.schema import FunctionName
from cm_exec.scaffold.folder import FolderError, existing, write_files
from cm_exec.scaffold.plan import Asked, Plan
from cm_exec.scaffold.project import plan_greeting
from cm_exec.scaffold.python_function import plan_function
from cm_exec.scaffold.report import report
from cm_exec.scaffold.tools import missing_tools

_IMAGE: Final = re.compile(r"[A-Za-z0-9][\w./:@-]*")


def start(asked: Asked, target: str | None) -> None:
    """Write the folder, with a handler of our own or for the Python function `target`. Raises click.UsageError."""
    _check(asked)
    plan = plan_greeting(asked) if target is None else plan_function(asked, target)
    kept = _kept(asked, plan, target)
    files = {name: text for name, text in plan.files.items() if name not in kept}
    try:
        write_files(asked.directory, files)
    except FolderError as error:
        raise click.BadParameter(str(error), param_hint="DIRECTORY") from None
    click.echo(report(asked, plan, written=list(files), kept=kept))
    for tool in missing_tools(asked.language):
        click.echo(f"cm-exec: note: {tool.name} is not on this machine. {tool.how_to_get}", err=True)


def _check(asked: Asked) -> None:
    if asked.name is not None and not _is_name(asked.name):
        message = "expected a function's name: not empty, UTF-8, no control characters"
        raise click.BadParameter(message, param_hint="--name")
    if not _IMAGE.fullmatch(asked.base_image):
        message = f"expected an image such as registry.example.org/cm-exec-base:1, found {asked.base_image!r}"
        raise click.BadParameter(message, param_hint="--base-image")


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, FunctionName)
        text.encode()
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


def _kept(asked: Asked, plan: Plan, target: str | None) -> list[str]:
    """The files that exist and stay as they are. Raises click.BadParameter for one that may not exist."""
    found = existing(asked.directory, plan.files)
    taken = [name for name in found if name not in plan.may_exist]
    if taken:
        names = " and ".join(filter(None, [", ".join(taken[:-1]), taken[-1]]))
        message = f"{asked.directory} has {names} already, and nothing was written; {_remedy(taken, target)}"
        raise click.BadParameter(message, param_hint="DIRECTORY")
    return found


def _remedy(taken: list[str], target: str | None) -> str:
    if target is None:
        return "name another directory, or move what is there away"
    if "cm.toml" in taken:
        return f"to add the function to that cm.toml, append what this prints: cm-exec schema --from-python {target}"
    return "move what is there away"
