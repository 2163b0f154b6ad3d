"""The old place of `cm_exec.errors.exit_code_of`."""

from cm_exec.errors import exit_code_of

__all__ = ["exit_code_of"]
