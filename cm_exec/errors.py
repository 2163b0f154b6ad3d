"""Errors that end the program. Each class has the exit code; the message is text for the user, never a traceback."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Final

from msgspec import Struct


class CmExecError(Exception):
    """The base of all errors with an exit code."""

    exit_code: ClassVar[int]


class UsageError(CmExecError):
    """Raised when the command line asks for something that does not exist or does not fit."""

    exit_code = 2


class Problem(Struct, frozen=True, kw_only=True):
    """One error in a cm.toml. `key` is dotted as in TOML, such as "functions.thumbnail.timeout"; empty for the file.

    `message` is a sentence without a full stop: what is expected, what was found, and the closest valid name. `line`
    is the line of the key, None if it is unknown.
    """

    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(CmExecError):
    """Raised when a cm.toml is invalid. Its text has one line per problem.

    `path` is the file as the caller named it.
    """

    exit_code = 3

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__(path, self.problems)

    def __str__(self) -> str:
        return "\n".join(
            f"{self.path}: {problem}" + (f" (line {problem.line})" if problem.line else "") for problem in self.problems
        )


class PreflightError(CmExecError):
    """Raised when a check of the programs, files or the image that a cm.toml needs has failed."""

    exit_code = 3


class NoRuntimeError(CmExecError):
    """Raised when the runtime settings in the environment are missing or invalid, or no local runtime is running."""

    exit_code = 4


class AuthenticationError(CmExecError):
    """Raised when the runtime has rejected the token for so long that retrying is pointless."""

    exit_code = 5


class ExhaustedError(CmExecError):
    """Raised when the system has no descriptor, thread or memory left for the program itself."""

    exit_code = 4


LOCAL_RUNTIME: Final = ("starlette", "uvicorn", "httptools", "trustme")
"""What the local runtime imports of the extra `dev`."""


def require_extra(user: str, modules: Iterable[str] = LOCAL_RUNTIME) -> None:
    """Raise UsageError, with the remedy, if one of the extra's modules is missing."""
    missing: list[str] = []
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError:
            missing.append(name)
    if missing:
        raise UsageError(
            f"{user} needs {', '.join(missing)}; install them with: pip install 'cm-exec[dev]' (not into the "
            "self-contained /opt/cm-exec, which has only what a worker needs)"
        )


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code of an expected error, None for a bug."""
    code = getattr(error, "exit_code", None)
    return code if isinstance(code, int) and type(error).__module__.startswith("cm_exec.") else None
