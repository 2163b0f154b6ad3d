"""The steps from a Python, a wheel and a file of locked requirements to the folder for /opt/cm-exec."""

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

_DEFAULT_EPOCH: Final = 315_532_800
"""1980-01-01, the first date that all kinds of archives can hold. The default without SOURCE_DATE_EPOCH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The inputs and outputs of a build. `epoch` is the time that all files get, in seconds since 1970."""

    output: Path
    python: Path
    archive: Path | None = None
    wheel: Path | None = None
    wheelhouse: Path | None = None
    epoch: int | None = None


def build(request: BuildRequest) -> str:
    """Build the bundle and return a line that describes it. Raises BundleError and removes the output then."""
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


def _build(request: BuildRequest) -> str:
    epoch = request.epoch or _DEFAULT_EPOCH
    interpreter = read_interpreter(request.python)
    layout = Layout(root=request.output, python_name=interpreter.name)
    components = _assemble(layout, interpreter, request)
    write_licenses(components, layout)
    write_sbom(components, layout, epoch)
    settle(layout, epoch)
    if request.archive:
        write_archive(layout, request.archive, epoch)
    return _summary(components, layout)


def _assemble(layout: Layout, interpreter: Interpreter, request: BuildRequest) -> list[Component]:
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
    shown = [f"{c.name} {c.version}" for c in components if c.kind is not Kind.LIBRARY or c.name.startswith("libc6")]
    return f"{size / 1e6:.1f} MB: {', '.join(shown)}"
