"""The part of the standard library that a launcher can need."""

import fnmatch
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bundle.interpreter import Interpreter
from bundle.layout import Layout

_LEFT_OUT: Final = (
    # other people's packages, and what belongs to the installation
    "site-packages",
    "dist-packages",
    "sitecustomize.py",
    "EXTERNALLY-MANAGED",
    "config-3*",
    # tests
    "test",
    "tests",
    "unittest",
    "doctest.py",
    # windows, terminals, games
    "idlelib",
    "tkinter",
    "turtle*",
    "curses",
    "_pyrepl",
    "antigravity.py",
    # for developers of Python programs
    "ensurepip",
    "venv",
    "distutils",
    "lib2to3",
    "pydoc.py",
    "pydoc_data",
    "*.pdb",
    # databases and protocols that nothing here speaks
    "dbm",
    "sqlite3",
    "xmlrpc",
    "wsgiref",
    "imaplib.py",
    "nntplib.py",
    "poplib.py",
    "smtp*.py",
    "ftplib.py",
    "telnetlib.py",
    "mailbox.py",
    # bytecode: it is compiled anew, for where it will stand
    "__pycache__",
)
"""Names, at any depth."""

_EXTENSIONS_LEFT_OUT: Final = (
    "_crypt",
    "_curses*",
    "_dbm",
    "_gdbm",
    "_sqlite3",
    "_test*",
    "_tkinter",
    "_xxtestfuzz",
    "_ctypes_test",
    "audioop",
    "nis",
    "ossaudiodev",
    "readline",
    "spwd",
    "xx*",
)
"""Compiled modules, by the name that is imported: most would bring libraries with them."""


def copy_standard_library(interpreter: Interpreter, layout: Layout) -> list[Path]:
    """Copy it, links as what they point to. The paths are those of the compiled modules, where they come from."""
    source = interpreter.standard_library
    shutil.copytree(
        source, layout.standard_library, ignore=_leave_out, ignore_dangling_symlinks=True, dirs_exist_ok=True
    )
    copied = layout.standard_library.rglob("*.so")
    return sorted(source / path.relative_to(layout.standard_library) for path in copied)


def _leave_out(folder: str, names: list[str]) -> set[str]:
    patterns = [f"{name}.*" for name in _EXTENSIONS_LEFT_OUT] if Path(folder).name == "lib-dynload" else _LEFT_OUT
    return set(_matching(names, patterns))


def _matching(names: list[str], patterns: Iterable[str]) -> list[str]:
    return [name for pattern in patterns for name in fnmatch.filter(names, pattern)]
