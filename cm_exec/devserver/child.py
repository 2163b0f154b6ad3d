"""The worker's side of its start by `cm-exec dev`: the program itself, which does not outlive `dev`."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

from cm_exec.cli.program import main

_BOOT: Final = "import sys; sys.path.append(sys.argv.pop(1)); from cm_exec.devserver.child import run; run()"
_SET_PARENT_DEATH_SIGNAL: Final = 1


def worker_arguments(*arguments: str) -> list[str]:
    """The command line that runs `cm-exec ARGUMENTS` with this very cm_exec.

    Not `-m cm_exec`: that would import what lies in the current folder, such as a handler called json.py.
    """
    where = str(Path(__file__).parents[2])
    return [sys.executable, "-P", "-c", _BOOT, where, str(os.getpid()), *arguments]


def run() -> None:
    """Run the program given on the command line; SIGTERM it when the process that started it is killed."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
    main()
