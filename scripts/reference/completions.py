"""Shell completions, made by click. They ask the program itself at each TAB, so they are never outdated."""

from pathlib import Path
from typing import Final

from click.shell_completion import get_completion_class

from cm_exec.cli.program import program

_PLACES: Final = {
    "bash": Path("bash-completion", "completions", "cm-exec"),
    "zsh": Path("zsh", "site-functions", "_cm-exec"),
    "fish": Path("fish", "vendor_completions.d", "cm-exec.fish"),
}


def scripts() -> dict[Path, str]:
    """Return each script by its path under a share/ folder."""
    return {place: _script(shell) for shell, place in _PLACES.items()}


def _script(shell: str) -> str:
    completion = get_completion_class(shell)
    if completion is None:
        raise LookupError(shell)
    return completion(program, {}, "cm-exec", "_CM_EXEC_COMPLETE").source().strip() + "\n"
