"""Whether the command of a function can be started, as its process would be."""

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cm_exec.config import Function
from cm_exec.handlers.environment import function_environment, launcher_environment
from cm_exec.preflight.executable import hindrance


@dataclass(frozen=True, slots=True)
class Checked:
    """A function with the program that was found for it, or what is wrong."""

    function: Function
    program: str
    problem: str


def check_function(function: Function) -> Checked:
    """Look for what a function needs, as its process would: with its folder, environment and PATH."""
    if problem := _folder_problem(function.cwd):
        return Checked(function, "-", problem)
    environment = function_environment(function, launcher_environment())
    find = _find_in_shell if isinstance(function.command, str) else _find
    program, problem = find(function, environment)
    return Checked(function, program or "-", problem)


def _folder_problem(folder: Path) -> str:
    mode = _mode(folder)
    if mode is None or not stat.S_ISDIR(mode):
        return f"cwd: the folder {str(folder)!r} does not exist"
    return "" if os.access(folder, os.X_OK) else f"cwd: this user may not enter the folder {str(folder)!r}"


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _find(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    program, problem = _search(function, environment)
    if problem:
        return "", problem
    hindered = hindrance(Path(program), _path_variable(environment))
    return program, f"command: {program!r} {hindered}" if hindered else ""


def _search(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    name = function.argv[0]
    if "/" in name:
        path = function.cwd / name
        mode = _mode(path)
        if mode is None:
            return "", f"command: {str(path)!r} does not exist"
        if stat.S_ISDIR(mode) or not os.access(path, os.X_OK):
            return "", f"command: {str(path)!r} is not executable; chmod +x it, or name its interpreter"
        return str(path), ""
    found = shutil.which(name, path=_path_variable(environment))
    return found or "", "" if found else f"command: {name!r} is not found in PATH"


def _path_variable(environment: Mapping[bytes, bytes]) -> str:
    return os.fsdecode(environment.get(b"PATH", os.defpath.encode()))


def _find_in_shell(function: Function, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Let the shell itself judge its syntax and find the first word, which may be a builtin."""
    text = str(function.command)
    try:
        syntax = _shell(["-n", "-c", text], function, environment)
    except OSError:
        return "", "command: there is no /bin/sh to run it; put one into the image, or write the command as an array"
    if syntax.returncode:
        return "", f"command: the shell does not understand it: {syntax.stderr.strip()}"
    first = text.split(maxsplit=1)[0]
    if not all(character.isalnum() or character in "_-./+" for character in first):
        return "/bin/sh", ""  # an assignment, a quote or a bracket: only running it tells
    found = _shell(["-c", 'command -v -- "$1"', "sh", first], function, environment)
    program = found.stdout.strip()
    if found.returncode:
        return program, f"command: the shell finds no {first!r}"
    path = function.cwd / program  # of a builtin: no file
    hindered = hindrance(path, _path_variable(environment), by_shell=True) if "/" in program else ""
    return program, f"command: {program!r} {hindered}" if hindered else ""


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
