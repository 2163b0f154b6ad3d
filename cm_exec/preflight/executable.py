"""Why a command would not run: what keeps the kernel from executing its file, and what is wrong with its script."""

import os
import re
import shlex
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

BOM: Final = b"\xef\xbb\xbf"

_HEAD: Final = 256
"""The bytes that Linux reads to recognise a file."""

_ELF: Final = b"\x7fELF"
_ELF_64_LITTLE: Final = b"\x02\x01"
_ELF_HEADER: Final = struct.Struct("<16xHHI Q Q Q I H H H")
_SEGMENT: Final = struct.Struct("<I I Q Q Q Q")
_INTERPRETER_SEGMENT: Final = 3
_MACHINES: Final = {62: "x86_64", 183: "aarch64"}
"""ELF's numbers of the machines that containers are built for (System V ABI, e_machine), by uname's names."""


@dataclass(frozen=True, slots=True)
class CommandProblem:
    """Why a command cannot be started: its state in two words, for a table, and a sentence with the remedy.

    `key` is the key of cm.toml that is wrong.
    """

    state: str
    message: str
    key: str = "command"

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def exec_problem(path: Path, search_path: str, *, by_shell: bool = False) -> CommandProblem | None:
    """Return what keeps the kernel from executing a file; None if nothing does.

    `search_path` is the PATH in which `env` searches. With `by_shell` a shell starts the file, which runs a text
    without a `#!` line itself.
    """
    try:
        if not path.is_file():  # opening a pipe would block
            return None
        with path.open("rb") as file:
            return _check_file(path, file, search_path, by_shell=by_shell)
    except OSError:
        return None  # a program may be executable without being readable


def _check_file(path: Path, file: BinaryIO, search_path: str, *, by_shell: bool) -> CommandProblem | None:
    head = file.read(_HEAD)
    if head.startswith(b"#!"):
        return _check_interpreter(path, head, search_path)
    if head.startswith(BOM + b"#!"):
        return bom_problem(path)
    if head.startswith(_ELF):
        return _check_elf(path, file, head)
    if not by_shell and b"\0" not in head and head.isascii():
        message = f"{str(path)!r} has no #! line: add one, such as #!/bin/sh, or name its interpreter in the command"
        return CommandProblem("NO #! LINE", message)
    return None


def bom_problem(path: Path) -> CommandProblem:
    """Report a byte order mark, which hides a `#!` line."""
    remedy = f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(path))}"
    return CommandProblem("BYTE ORDER MARK", f"{str(path)!r} starts with a UTF-8 byte order mark; remove it: {remedy}")


def crlf_problem(path: Path, effect: str) -> CommandProblem:
    """Report Windows line ends; `effect` is what they do here, as half a sentence."""
    remedy = f"sed -i 's/\\r$//' {shlex.quote(str(path))}"
    return CommandProblem("CRLF", f"{str(path)!r} has Windows line ends, and {effect}; convert it: {remedy}")


def _check_interpreter(path: Path, head: bytes, search_path: str) -> CommandProblem | None:
    """Check the interpreter that the `#!` line names."""
    line = head[2:].partition(b"\n")[0]
    if line.endswith(b"\r"):
        return crlf_problem(path, "Linux takes the carriage return for a part of the name in its #! line")
    # the kernel splits the line at the first white space only: the rest is one argument
    interpreter, _, argument = os.fsdecode(line).strip().partition(" ")
    argument = argument.strip()
    if not interpreter:
        return CommandProblem("NO INTERPRETER", f"{str(path)!r} names no interpreter in its #! line: write one")
    if interpreter.startswith("/") and not os.access(interpreter, os.X_OK):
        remedy = "install it, or correct the line"
        return CommandProblem(
            "NO INTERPRETER", f"{str(path)!r} needs the interpreter {interpreter}, which does not exist: {remedy}"
        )
    return _check_env(path, interpreter, argument, search_path) if Path(interpreter).name == "env" else None


def _check_env(path: Path, env: str, argument: str, search_path: str) -> CommandProblem | None:
    """Check the program that `env` searches for."""
    if " " in argument and not argument.startswith("-"):
        message = f"{str(path)!r} starts with '#!{env} {argument}', and Linux passes {argument!r} to env as one word"
        return CommandProblem("BAD #! LINE", f"{message}: write '#!{env} -S {argument}'")
    words = argument.split()
    program = next((word for word in words if not word.startswith("-") and "=" not in word), None)
    if program is None or shutil.which(program, path=search_path):
        return None
    message = (
        f"{str(path)!r} needs the interpreter {program!r}, which is not on PATH: install it, or correct the #! line"
    )
    return CommandProblem("NO INTERPRETER", message)


def _check_elf(path: Path, file: BinaryIO, head: bytes) -> CommandProblem | None:
    """Check the machine that the program is for, and the loader that it requests."""
    if head[4:6] != _ELF_64_LITTLE or len(head) < _ELF_HEADER.size:
        return None
    _, number, _, _, table, _, _, _, size, count = _ELF_HEADER.unpack_from(head)
    machine, here = _MACHINES.get(number, ""), os.uname().machine
    if machine and here in _MACHINES.values() and machine != here:
        message = f"{str(path)!r} is built for {machine}, and this machine is {here}: build it for {here}"
        return CommandProblem("OTHER MACHINE", message)
    loader = _loader(file, table, size, count)
    if loader and not Path(loader).exists():
        message = f"{str(path)!r} needs the loader {loader}, which does not exist here: it was built for another libc"
        return CommandProblem("OTHER LIBC", f"{message}; build it in this image, or statically")
    return None


def _loader(file: BinaryIO, table: int, size: int, count: int) -> str:
    """Return the path in the program's PT_INTERP segment; empty for a static program."""
    for number in range(count):
        file.seek(table + number * size)
        entry = file.read(_SEGMENT.size)
        if len(entry) < _SEGMENT.size:
            return ""
        kind, _, offset, _, _, length = _SEGMENT.unpack(entry)
        if kind == _INTERPRETER_SEGMENT:
            file.seek(offset)
            return os.fsdecode(file.read(length).rstrip(b"\0"))
    return ""


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


def missing_file(path: Path, shown: str) -> CommandProblem:
    """Report a missing file, called `shown`; the remedy is `make build` if a Makefile has that target."""
    folder = _build_folder(path)
    build = None if folder is None else f"run `make build` in {folder}"
    remedy = build or "create it, or correct its path"
    return CommandProblem("NOT FOUND", f"{shown} does not exist: {remedy}")


def _build_folder(path: Path) -> Path | None:
    """Return the nearest folder above the file whose Makefile has a `build` target, up to six levels."""
    for folder in list(path.parents)[:6]:
        try:
            text = (folder / "Makefile").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if re.search(r"^build:", text, re.MULTILINE):
            return folder
    return None


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
