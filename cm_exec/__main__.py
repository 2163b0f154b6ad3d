"""``python -m cm_exec`` is ``cm-exec``."""

from cm_exec.cli import main

main()
