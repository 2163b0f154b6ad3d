"""The worker's side of its start by `cm-exec dev`: the program itself, which does not outlive `dev`."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

_BOOT: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from cm_exec.devserver.child import end_with_parent;"
    "end_with_parent(); from cm_exec.cli import main; main()"
)
_SET_PARENT_DEATH_SIGNAL: Final = 1


def worker_arguments(*arguments: str) -> list[str]:
    """Return the command line that runs `cm-exec ARGUMENTS` with this very cm_exec.

    Not `-m cm_exec`: that would import modules of the current folder, such as a handler called json.py.
    """
    where = str(Path(__file__).parents[2])
    return [sys.executable, "-P", "-c", _BOOT, where, str(os.getpid()), *arguments]


def end_with_parent() -> None:
    """Let this process get SIGTERM when the process that started it is killed. Its id is the first argument."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
