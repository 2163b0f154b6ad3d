"""The errors that end the program, and their exit codes."""


def exit_code_of(error: Exception) -> int | None:
    """The exit code of a foreseen error, which its class carries; None for a bug."""
    code = getattr(error, "exit_code", None)
    return code if isinstance(code, int) and type(error).__module__.startswith("cm_exec.") else None
