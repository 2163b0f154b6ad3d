"""The shared libraries that the interpreter and its modules need, down to libc and the loader."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bundle import elf
from bundle.commands import run
from bundle.failure import BundleError
from bundle.interpreter import Interpreter
from bundle.layout import Layout

_FOUND: Final = re.compile(r"^\t(\S+) => (/.*) \(0x[0-9a-f]+\)$", re.MULTILINE)
_NOT_FOUND: Final = re.compile(r"^\t(\S+) => not found$", re.MULTILINE)

_LOADED_LATER: Final = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2")
"""What libc loads by name when it is needed: to end a thread, and to look up a host or a user."""


def find_libraries(interpreter: Interpreter, modules: Iterable[Path]) -> dict[str, Path]:
    """Name to file, for all that the interpreter and these compiled modules load. Raises BundleError."""
    found = _needed([interpreter.executable, *modules])
    libc = found["libc.so.6"]
    later = [libc.with_name(name) for name in _LOADED_LATER]
    loader = elf.loader_of(interpreter.executable)
    return {loader.name: loader, **found, **_needed(later), **{path.name: path for path in later}}


def copy_libraries(libraries: Mapping[str, Path], layout: Layout) -> None:
    """Copy them, links as what they point to."""
    for name, source in libraries.items():
        shutil.copyfile(source, layout.libraries / name)


def copy_interpreter(interpreter: Interpreter, layout: Layout) -> None:
    """Copy it, and make it and every compiled module find nothing but what is in the bundle."""
    layout.interpreter.parent.mkdir(exist_ok=True)
    shutil.copyfile(interpreter.executable, layout.interpreter)
    compiled = sorted(layout.root.rglob("*.so*"))
    for path in (layout.interpreter, *compiled):
        elf.strip(path)
    loader = layout.libraries / elf.loader_of(interpreter.executable).name
    elf.use_libraries(
        layout.interpreter,
        loader=layout.at_home(layout.relative(loader)),
        folder=layout.at_home(layout.relative(layout.libraries)),
    )
    for path in compiled:
        elf.forget_search_path(path)


def _needed(binaries: list[Path]) -> dict[str, Path]:
    """What ldd says that they load, by whatever chain."""
    told = run(["ldd", *binaries])
    if missing := sorted(set(_NOT_FOUND.findall(told))):
        raise BundleError(f"the Python to bundle needs libraries that are not on this machine: {', '.join(missing)}")
    return {name: Path(path) for name, path in _FOUND.findall(told)}
