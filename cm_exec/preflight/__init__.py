"""Checks whether the command of a function can be started, with the folder and the environment of its process."""

import itertools
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cm_exec.config import Function
from cm_exec.handlers import command_environment, read_environment
from cm_exec.preflight.executable import CommandProblem, exec_problem, missing_file
from cm_exec.preflight.script import script_problem

_SHELL_SYNTAX: Final = re.compile(r"[|&;<>()$`\\*?\[\]{}~!#\n]")
_PIPE: Final = re.compile(r"(?<!\|)\|(?!\|)|>\(")


_PIPE_WARNING: Final = (
    "a persistent command with a pipe: one process reads the query and another writes the result, so a late result "
    "can answer the wrong job; set envelope = true, so that each result names its job"
)


@dataclass(frozen=True, slots=True)
class CommandCheck:
    """A function with the program that was found for it, the problem if there is one, and warnings.

    `at` is the key of the table whose command was checked: that of the function, or of its service.
    """

    function: Function
    at: str
    program: str
    problem: CommandProblem | None
    warnings: tuple[str, ...] = ()


def check_function(function: Function) -> CommandCheck:
    """Search for what a function needs, as its process would: with its folder, environment and PATH."""
    service = function.service
    at = (
        f"functions.{function.name}" if service is None or service.name == function.name else f"services.{service.name}"
    )
    if function.command is None:
        return CommandCheck(function, at, service.url or "-" if service else "-", None)
    warnings = tuple(_warnings(function))
    try:
        program, problem = _find(function)
    except OSError as error:
        message = f"{str(error.filename)!r} cannot be inspected: {error.strerror}"
        program, problem = "", CommandProblem("NO ACCESS", message)
    return CommandCheck(function, at, program or "-", problem, warnings)


def command_problem(function: Function) -> str:
    """Return what is wrong with the command of a function, with its key and remedy; empty for nothing."""
    check = check_function(function)
    return f"{check.at}: {check.problem}" if check.problem else ""


def _find(function: Function) -> tuple[str, CommandProblem | None]:
    if problem := _folder_problem(function.cwd):
        return "", problem
    environment = command_environment(function, read_environment())
    if isinstance(function.command, str):
        return _find_by_shell(function, environment)
    return check_command(function.argv, function.cwd, _search_path(environment))


def _folder_problem(folder: Path) -> CommandProblem | None:
    if not folder.is_dir():
        return CommandProblem(
            "NO FOLDER", f"the folder {str(folder)!r} does not exist: create it, or correct cwd", "cwd"
        )
    if not os.access(folder, os.X_OK):
        message = f"uid {os.geteuid()} may not enter the folder {str(folder)!r}: chmod a+x {shlex.quote(str(folder))}"
        return CommandProblem("NO ACCESS", message, "cwd")
    return None


def check_command(argv: Sequence[str], folder: Path, search_path: str) -> tuple[str, CommandProblem | None]:
    """Find the program of a command without a shell, and what is wrong with it or with its script."""
    program, problem = _search(argv[0], folder, search_path)
    problem = problem or exec_problem(Path(program), search_path) or script_problem(argv, folder)
    return program, problem


def _search(name: str, folder: Path, search_path: str) -> tuple[str, CommandProblem | None]:
    if "/" in name:
        path = folder / name
        return str(path), _file_problem(path)
    found = shutil.which(name, path=search_path)
    if found:
        return found, None
    return "", _not_on_path(name, folder, search_path)


def _file_problem(path: Path) -> CommandProblem | None:
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return CommandProblem(
            "NO ACCESS", f"uid {os.geteuid()} may not enter a folder above {str(path)!r}: chmod a+x that folder"
        )
    except OSError:
        return missing_file(path, repr(str(path)))
    if stat.S_ISDIR(mode):
        return CommandProblem("IS A FOLDER", f"{str(path)!r} is a folder: name a program in it")
    if not os.access(path, os.X_OK):
        remedy = f"chmod +x {shlex.quote(str(path))}, or name its interpreter in the command"
        return CommandProblem("NOT EXECUTABLE", f"{str(path)!r} is not executable: {remedy}")
    return None


def _not_on_path(name: str, folder: Path, search_path: str) -> CommandProblem:
    if os.path.isfile(folder / name):
        remedy = f"it is a file in {folder}: write ./{name}"
    elif name == "python" and shutil.which("python3", path=search_path):
        remedy = "write python3"
    else:
        remedy = "install it, or write its path"
    return CommandProblem("NOT FOUND", f"command not found: {name!r} is not on PATH; {remedy}")


def _search_path(environment: Mapping[bytes, bytes]) -> str:
    return os.fsdecode(environment.get(b"PATH", os.defpath.encode()))


def _find_by_shell(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, CommandProblem | None]:
    """Let the shell itself check its syntax and find the first word, which may be a builtin."""
    text = str(function.command)
    try:
        syntax = _shell(["-n", "-c", text], function, environment)
    except OSError:
        message = "there is no /bin/sh to run the command: install one, or write the command as an array"
        return "", CommandProblem("NO SHELL", message)
    if syntax.returncode:
        return "", CommandProblem("SYNTAX ERROR", f"the shell reports a syntax error: {syntax.stderr.strip()}")
    words = _plain_words(text)
    first = text.split(maxsplit=1)[0] if not words else words[0]
    if not all(character.isalnum() or character in "_-./+" for character in first):
        return "/bin/sh", None  # an assignment, a quote or a bracket: only the running shell can resolve it
    found = _shell(["-c", 'command -v -- "$1"', "sh", first], function, environment)
    program, search_path = found.stdout.strip(), _search_path(environment)
    if found.returncode:
        return program, _search(first, function.cwd, search_path)[1]
    path = function.cwd / program  # a builtin has no file
    problem = exec_problem(path, search_path, by_shell=True) if "/" in program else None
    return program, problem or (script_problem(words, function.cwd) if words else None)


def _plain_words(text: str) -> list[str]:
    """Return the words of a command that needs no shell syntax; none for other commands."""
    if _SHELL_SYNTAX.search(text):
        return []
    words = shlex.split(text)
    return words[1:] if words[:1] == ["exec"] and len(words) > 1 else words


def _shell(
    arguments: list[str], function: Function, environment: Mapping[bytes, bytes]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", *arguments],
        env=environment,
        cwd=function.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=10,
    )


def _warnings(function: Function) -> list[str]:
    """Warn of a persistent shell command with a pipe: cm-exec cannot see which process has read the query."""
    argv = [] if isinstance(function.command, str) else list(function.argv)
    script = function.command if isinstance(function.command, str) else ""
    if len(argv) > 2 and re.fullmatch(r"(ba|da|k|z|a)?sh", Path(argv[0]).name):  # noqa: PLR2004 - SHELL -c SCRIPT
        script = next((text for flag, text in itertools.pairwise(argv[1:]) if flag.endswith("c")), "")
    quoteless = re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", "''", script)
    if function.service is None or function.service.envelope or not _PIPE.search(quoteless):
        return []
    return [_PIPE_WARNING]
