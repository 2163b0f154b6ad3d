"""The command line: one module a command, and the one place where errors become text and exit codes."""

from cm_exec.cli.program import main

__all__ = ["main"]
