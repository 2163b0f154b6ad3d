"""What keeps the kernel from executing the file of a command."""

import os
import re
import shlex
import shutil
import struct
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
