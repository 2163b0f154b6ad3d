"""What is wrong with the script that a command gives to an interpreter."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cm_exec.preflight.executable import BOM, CommandProblem, bom_problem, crlf_problem, missing_file

_JAVA: Final = "java"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The options of an interpreter, as far as they decide which argument is its script.

    `with_value` are options whose value is the next argument; `no_script` matches options after which there is no
    script. `suffixes` can be missing in the script's name. `takes_folder` is set if the script can be a folder.
    """

    names: str
    with_value: frozenset[str] = frozenset()
    no_script: str = r"(?!)"
    script_option: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    takes_folder: bool = False
    is_shell: bool = False
    bom_harms: bool = True


_INTERPRETERS: Final = (
    Interpreter(
        names=r"(ba|da|k|z|a)?sh",
        with_value=frozenset({"-o", "+o", "-O", "+O", "--rcfile", "--init-file"}),
        no_script=r"-[a-zA-Z]*[cs][a-zA-Z]*",
        is_shell=True,
    ),
    Interpreter(
        names=r"(python|pypy)[\d.]*",
        with_value=frozenset({"-W", "-X", "--check-hash-based-pycs"}),
        no_script=r"-(?![WX])[a-zA-Z]*[cm].*|-",
        takes_folder=True,
        bom_harms=False,
    ),
    Interpreter(
        names="node|nodejs",
        with_value=frozenset(
            {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"}
        ),
        no_script=r"-[epi].*|--(eval|print|run|test|interactive)\b.*|-",
        suffixes=(".js", ".json", ".node"),
        takes_folder=True,
    ),
    Interpreter(names="Rscript", no_script=r"-e"),
    Interpreter(
        names=r"ruby[\d.]*",
        with_value=frozenset({"-I", "-r", "-C", "-E", "-K"}),
        no_script=r"-(?![rIEKC])[a-zA-Z]*[eS].*|-",
    ),
    Interpreter(
        names=r"php[\d.]*",
        with_value=frozenset({"-d", "-c", "-z"}),
        no_script=r"-[rBRSFE].*|--(run|server|process).*|-",
        script_option=frozenset({"-f", "--file"}),
    ),
    Interpreter(names=r"perl[\d.]*", with_value=frozenset({"-I"}), no_script=r"-(?![MmIdDx])[a-zA-Z0-9]*[eES].*|-"),
    Interpreter(
        names="julia",
        with_value=frozenset({"-L", "--load", "-t", "--threads", "-p", "-J", "-C", "-O"}),
        no_script=r"-[eE].*|--(eval|print)\b.*|-",
    ),
    Interpreter(names=r"lua[\d.]*", with_value=frozenset({"-l"}), no_script=r"-[ei].*|-"),
)

_JAVA_CLASS_PATH: Final = frozenset({"-cp", "-classpath", "--class-path"})
_JAVA_WITH_VALUE: Final = frozenset(
    {"-p", "--module-path", "--add-modules", "--add-opens", "--add-exports", "--add-reads"}
)
_JAVA_NO_SCRIPT: Final = frozenset({"-m", "--module", "-version", "--version", "-help", "--help"})


def script_problem(argv: Sequence[str], folder: Path) -> CommandProblem | None:
    """Return what is wrong with the script in a command; None if nothing is, or if the interpreter is unknown.

    `folder` is the working folder of the command.
    """
    name = Path(argv[0]).name
    if name == _JAVA:
        return _check_java(argv[1:], folder)
    for interpreter in _INTERPRETERS:
        if re.fullmatch(interpreter.names, name):
            script = _script(argv[1:], interpreter)
            return None if script is None else _check_script(folder / script, interpreter, name)
    return None


def _script(arguments: Sequence[str], interpreter: Interpreter) -> str | None:
    """Return the argument that is the script; None if there is none."""
    words = iter(arguments)
    for word in words:
        if word in interpreter.script_option:
            return next(words, None)
        if re.fullmatch(interpreter.no_script, word, re.DOTALL):
            return None
        if word == "--":
            return next(words, None)
        if word in interpreter.with_value:
            next(words, None)
        elif not word.startswith(("-", "+")):
            return word
    return None


def _check_script(path: Path, interpreter: Interpreter, name: str) -> CommandProblem | None:
    if path.is_dir() and not interpreter.takes_folder:
        return CommandProblem("IS A FOLDER", f"the script {str(path)!r} is a folder: name a file in it")
    if not path.exists() and not any(path.with_name(path.name + suffix).is_file() for suffix in interpreter.suffixes):
        return missing_file(path, f"the script {str(path)!r}")
    if not path.is_file():
        return None
    return _check_content(path, interpreter, name) if os.access(path, os.R_OK) else _unreadable(path, "the script")


def _check_content(path: Path, interpreter: Interpreter, name: str) -> CommandProblem | None:
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    if head.startswith(BOM) and interpreter.bom_harms:
        return bom_problem(path)
    if interpreter.is_shell and b"\r\n" in head:
        return crlf_problem(path, f"{name} takes each carriage return for a part of the command")
    return None


def _unreadable(path: Path, what: str) -> CommandProblem:
    remedy = "chmod a+r it (in an image: COPY --chmod=a+r), or run as its owner"
    return CommandProblem("NOT READABLE", f"{what} {str(path)!r} is not readable for uid {os.geteuid()}: {remedy}")


def _check_java(arguments: Sequence[str], folder: Path) -> CommandProblem | None:
    """Check the jar, the source file, or the class path and the class in it."""
    class_path: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in _JAVA_CLASS_PATH:
            class_path = (value if equals else next(words, "")).split(os.pathsep)
        elif word == "-jar":
            jar = folder / next(words, "")
            if not jar.is_file():
                return missing_file(jar, f"the jar {str(jar)!r}")
            return None if os.access(jar, os.R_OK) else _unreadable(jar, "the jar")
        elif word in _JAVA_WITH_VALUE:
            next(words, None)
        elif option in _JAVA_NO_SCRIPT or word.startswith("@"):
            return None
        elif not word.startswith("-"):
            if word.endswith(".java"):
                source = folder / word
                return None if source.is_file() else missing_file(source, f"the source file {str(source)!r}")
            return _check_class(word, class_path, folder)
    return None


def _check_class(name: str, class_path: Sequence[str], folder: Path) -> CommandProblem | None:
    """Search for the class in the folders of the class path; jars are taken as they are."""
    entries = [folder / entry for entry in class_path if entry]
    if (not entries and os.environ.get("CLASSPATH")) or any(entry.name == "*" or entry.is_file() for entry in entries):
        return None
    file = Path(*name.split(".")).with_suffix(".class")
    places = entries or [folder]
    if any((entry / file).is_file() for entry in places):
        return None
    missing = places[0] / file
    return missing_file(missing, f"the class file {str(missing)!r}")
