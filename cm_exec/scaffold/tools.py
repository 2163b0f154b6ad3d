"""Whether a language's programs are on this machine."""

import shutil
import subprocess
from collections.abc import Sequence

from cm_exec.scaffold.languages import Language, Tool

_PATIENCE = 30.0  # seconds for a probe: R may take one, on a busy machine several


def missing_tools(language: Language) -> list[Tool]:
    """The programs that are not there, or do not work."""
    return [tool for tool in language.tools if not _is_there(tool)]


def _is_there(tool: Tool) -> bool:
    program = tool.probe[0] if tool.probe else tool.name
    return shutil.which(program) is not None and (not tool.probe or _succeeds(tool.probe))


def _succeeds(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
