"""The components of the bundle: each file belongs to one of them."""

import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from packageurl import PackageURL

from bundle.debian import DebianPackage, common_licenses, owners
from bundle.dependencies import Package
from bundle.failure import BundleError
from bundle.interpreter import Interpreter
from bundle.layout import Layout

_CM_EXEC: Final = "cm-exec"


class Kind(Enum):
    """Where a component comes from."""

    LAUNCHER = "cm-exec itself"
    PYTHON = "CPython"
    PACKAGE = "the Python package index"
    LIBRARY = "Debian"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component:
    """A part of the bundle with its version, origin and licences.

    `places` are files and folders in the bundle, relative to its top; a folder includes its content. `licenses` are
    the licence texts to copy into the bundle, by file name. `license_expression` is an SPDX expression or empty. `cpe`
    is the name in vulnerability databases, for what no package registry has.
    """

    kind: Kind
    name: str
    version: str
    purl: str
    license_expression: str
    places: tuple[str, ...]
    licenses: Mapping[str, Path]
    cpe: str = ""


def find_components(
    layout: Layout, interpreter: Interpreter, packages: Sequence[Package], libraries: Mapping[str, Path]
) -> list[Component]:
    """Return all components, cm-exec first. Raises BundleError for a library whose licence is unknown."""
    owned = owners([*libraries.values(), interpreter.executable])
    own = {name for name, path in libraries.items() if path not in owned and path.is_relative_to(interpreter.prefix)}
    python = _python(layout, interpreter, owned.get(interpreter.executable), own)
    others = {name: path for name, path in libraries.items() if name not in own}
    from_index = [_from_index(layout, package) for package in packages]
    return [
        *sorted(from_index, key=lambda c: c.kind is not Kind.LAUNCHER),
        python,
        *_from_debian(layout, others, owned),
    ]


def _from_index(layout: Layout, package: Package) -> Component:
    if not package.licenses:
        raise BundleError(f"the wheel of {package.name} {package.version} holds no licence")
    places = [f"{layout.relative(layout.site)}/{place}" for place in package.places]
    is_launcher = package.name == _CM_EXEC
    if is_launcher:
        places += [layout.relative(layout.entry), layout.relative(layout.licenses), layout.relative(layout.sbom)]
    return Component(
        kind=Kind.LAUNCHER if is_launcher else Kind.PACKAGE,
        name=package.name,
        version=package.version,
        purl=PackageURL("pypi", None, package.name, package.version).to_string(),
        license_expression=package.license_expression,
        places=tuple(sorted(places)),
        licenses={path.name: path for path in package.licenses},
    )


def _python(layout: Layout, interpreter: Interpreter, package: DebianPackage | None, libraries: set[str]) -> Component:
    """Describe the interpreter: built from source, as in the official images, or a package of Debian."""
    places = [layout.interpreter, layout.standard_library, *(layout.libraries / name for name in libraries)]
    own_license = interpreter.standard_library / "LICENSE.txt"
    return Component(
        kind=Kind.PYTHON,
        name="python",
        version=interpreter.version,
        purl=_debian_purl(package)
        if package
        else PackageURL("generic", None, "python", interpreter.version).to_string(),
        cpe="" if package else f"cpe:2.3:a:python:python:{interpreter.version}:*:*:*:*:*:*:*",
        license_expression="PSF-2.0",
        places=tuple(sorted(layout.relative(path) for path in places)),
        licenses=_texts(package) if package else {own_license.name: own_license},
    )


def _from_debian(layout: Layout, libraries: Mapping[str, Path], owned: Mapping[Path, DebianPackage]) -> list[Component]:
    by_package: dict[str, list[str]] = defaultdict(list)
    packages: dict[str, DebianPackage] = {}
    for name, path in libraries.items():
        if path not in owned:
            raise BundleError(
                f"no package of Debian owns {path}, so its licence is not known; Dockerfile.base builds anywhere"
            )
        package = owned[path]
        packages[package.name] = package
        by_package[package.name].append(layout.relative(layout.libraries / name))
    return [_library(packages[name], places) for name, places in sorted(by_package.items())]


def _library(package: DebianPackage, places: list[str]) -> Component:
    return Component(
        kind=Kind.LIBRARY,
        name=package.name,
        version=package.version,
        purl=_debian_purl(package),
        license_expression="",
        places=tuple(sorted(places)),
        licenses=_texts(package),
    )


def _texts(package: DebianPackage) -> dict[str, Path]:
    """Return the copyright text of a package, and those of the common licences that it refers to."""
    text = package.copyright_file.read_text(errors="replace")
    return {"copyright": package.copyright_file, **common_licenses(text)}


def _debian_purl(package: DebianPackage) -> str:
    release = platform.freedesktop_os_release()
    qualifiers = {"arch": package.architecture, "distro": f"{release['ID']}-{release.get('VERSION_ID', '')}"}
    return PackageURL("deb", release["ID"], package.name, package.version, qualifiers).to_string()
