"""Whether the kernel can execute a file: its machine, its loader, the interpreter that its first line names."""

import os
import shutil
import struct
from pathlib import Path
from typing import BinaryIO, Final

_HEAD: Final = 256  # what Linux reads to see what a file is
_ELF: Final = b"\x7fELF"
_ELF_64_LITTLE: Final = b"\x02\x01"
_ELF_HEADER: Final = struct.Struct("<16xHHI Q Q Q I H H H")
_SEGMENT: Final = struct.Struct("<I I Q Q Q Q")
_INTERPRETER_SEGMENT: Final = 3
_MACHINES: Final = {62: "x86_64", 183: "aarch64"}
"""ELF's numbers of the machines that containers are built for (System V ABI, e_machine), by uname's names."""


def hindrance(path: Path, search_path: str, *, by_shell: bool = False) -> str:
    """What keeps the kernel from executing the file, as half a sentence; empty where nothing does.

    `search_path` is the PATH in which `env` looks. With `by_shell`, a shell starts it, which takes a text without a
    `#!` line for a script of its own.
    """
    try:
        if not path.is_file():  # to open a pipe would wait
            return ""
        with path.open("rb") as file:
            return _hindrance(file, search_path, by_shell=by_shell)
    except OSError:
        return ""  # a program that may be executed and not read


def _hindrance(file: BinaryIO, search_path: str, *, by_shell: bool) -> str:
    head = file.read(_HEAD)
    if head.startswith(b"#!"):
        return _of_script(head, search_path)
    if head.startswith(_ELF):
        return _of_elf(file, head)
    if not by_shell and _is_text(head):
        return "has no #! line; write one, or name its interpreter in the command"
    return ""


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and head.isascii()


def _of_script(head: bytes, search_path: str) -> str:
    """The interpreter, and behind `env` the program that env looks for."""
    line = head[2:].partition(b"\n")[0]
    if line.endswith(b"\r"):
        return "has Windows line ends, and Linux takes the carriage return for a part of the name in its #! line"
    words = os.fsdecode(line).split()
    if not words:
        return "names no interpreter in its #! line"
    interpreter, *arguments = words
    if interpreter.startswith("/") and not os.access(interpreter, os.X_OK):
        return f"needs {interpreter}, which is not here"
    return _of_env(arguments, search_path) if Path(interpreter).name == "env" else ""


def _of_env(arguments: list[str], search_path: str) -> str:
    program = next((word for word in arguments if not word.startswith("-") and "=" not in word), None)
    if program is None or shutil.which(program, path=search_path):
        return ""
    return f"needs {program}, which is not found in PATH"


def _of_elf(file: BinaryIO, head: bytes) -> str:
    """The machine that the program is for, and the loader that it asks for."""
    if head[4:6] != _ELF_64_LITTLE or len(head) < _ELF_HEADER.size:
        return ""
    _, number, _, _, table, _, _, _, size, count = _ELF_HEADER.unpack_from(head)
    machine, here = _MACHINES.get(number, ""), os.uname().machine
    if machine and here in _MACHINES.values() and machine != here:
        return f"is built for {machine}, and this is {here}"
    loader = _loader(file, table, size, count)
    if loader and not Path(loader).exists():
        return f"needs the loader {loader}, which is not here: it was built for another libc"
    return ""


def _loader(file: BinaryIO, table: int, size: int, count: int) -> str:
    """The path in the program's PT_INTERP segment; empty for a static program."""
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
