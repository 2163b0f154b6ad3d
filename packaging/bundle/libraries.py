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
"""Libraries that libc loads by name at run time: to end a thread, and to look up a host or a user."""


def find_libraries(interpreter: Interpreter, modules: Iterable[Path]) -> dict[str, Path]:
    """Return the libraries that the interpreter and these modules load, by name. Raises BundleError."""
    found = _needed([interpreter.executable, *modules])
    libc = found["libc.so.6"]
    later = [libc.with_name(name) for name in _LOADED_LATER]
    loader = elf.loader_of(interpreter.executable)
    return {loader.name: loader, **found, **_needed(later), **{path.name: path for path in later}}


def copy_libraries(libraries: Mapping[str, Path], layout: Layout) -> None:
    """Copy the libraries. A link is copied as the file that it points to."""
    for name, source in libraries.items():
        shutil.copyfile(source, layout.libraries / name)


def copy_interpreter(interpreter: Interpreter, layout: Layout) -> None:
    """Copy the interpreter; strip it and all libraries, and let them load nothing from outside the bundle."""
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
        elf.remove_search_path(path)


def _needed(binaries: list[Path]) -> dict[str, Path]:
    """Ask ldd for all libraries that these files load, directly or not."""
    listing = run(["ldd", *binaries])
    if missing := sorted(set(_NOT_FOUND.findall(listing))):
        raise BundleError(f"the Python to bundle needs libraries that are not installed: {', '.join(missing)}")
    return {name: Path(path) for name, path in _FOUND.findall(listing)}
