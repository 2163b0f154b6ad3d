"""From a Python, a wheel and a file of locked requirements to the folder that is to be /opt/cm-exec."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundle import dependencies
from bundle.bytecode import compile_modules
from bundle.components import Component, Kind, find_components
from bundle.entry import write_entry
from bundle.failure import BundleError
from bundle.finish import settle, write_archive
from bundle.interpreter import Interpreter, read_interpreter
from bundle.layout import Layout
from bundle.libraries import copy_interpreter, copy_libraries, find_libraries
from bundle.licenses import write_licenses
from bundle.sbom import write_sbom
from bundle.standard_library import copy_standard_library

_NO_TIME: Final = 315_532_800
"""1980-01-01, the first day that archives of all kinds can tell: where SOURCE_DATE_EPOCH does not say another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be built. `epoch` is the time that all files get, in seconds since 1970."""

    output: Path
    python: Path
    archive: Path | None = None
    wheel: Path | None = None
    wheelhouse: Path | None = None
    epoch: int | None = None


def build(request: Request) -> str:
    """Build it, and tell in a line what it is. Raises BundleError, and leaves nothing then."""
    _claim(request.output)
    try:
        return _build(request)
    except BaseException:
        shutil.rmtree(request.output, ignore_errors=True)
        raise


def _claim(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BundleError(f"{output}: expected a folder that is missing or empty")
    output.mkdir(parents=True, exist_ok=True)


def _build(request: Request) -> str:
    epoch = request.epoch or _NO_TIME
    interpreter = read_interpreter(request.python)
    layout = Layout(root=request.output, python_name=interpreter.name)
    components = _assemble(layout, interpreter, request)
    write_licenses(components, layout)
    write_sbom(components, layout, epoch)
    settle(layout, epoch)
    if request.archive:
        write_archive(layout, request.archive, epoch)
    return _summary(components, layout)


def _assemble(layout: Layout, interpreter: Interpreter, request: Request) -> list[Component]:
    modules = copy_standard_library(interpreter, layout)
    packages = dependencies.install(layout, interpreter, request.wheel, request.wheelhouse)
    libraries = find_libraries(interpreter, [*modules, *layout.site.rglob("*.so")])
    copy_libraries(libraries, layout)
    copy_interpreter(interpreter, layout)
    write_entry(layout)
    compile_modules(interpreter, layout)
    return find_components(layout, interpreter, packages, libraries)


def _summary(components: Iterable[Component], layout: Layout) -> str:
    size = sum(path.stat().st_size for path in layout.root.rglob("*") if path.is_file())
    told = [f"{c.name} {c.version}" for c in components if c.kind is not Kind.LIBRARY or c.name.startswith("libc6")]
    return f"{size / 1e6:.1f} MB: {', '.join(told)}"
