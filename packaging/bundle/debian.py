"""The Debian package of a file, and its licences."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundle.commands import find_program, run
from bundle.failure import BundleError

_DOCUMENTS: Final = Path("/usr/share/doc")
_COMMON_LICENSES: Final = Path("/usr/share/common-licenses")
_COMMON: Final = re.compile(rf"{_COMMON_LICENSES}/([A-Za-z0-9.+-]*[A-Za-z0-9])")
_OWNED: Final = re.compile(r"^([a-z0-9][a-z0-9.+-]*(?::[a-z0-9]+)?): (/.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackage:
    """An installed package; `copyright_file` is the text of its licences."""

    name: str
    version: str
    architecture: str
    copyright_file: Path


def owners(files: Iterable[Path]) -> dict[Path, DebianPackage]:
    """Return the package of each file that belongs to one. Raises BundleError."""
    names = {file: _names(file) for file in files}
    asked = sorted({name for several in names.values() for name in several})
    found = {path: package for package, path in _OWNED.findall(_search(asked))}
    packages = {package: _package(package) for package in sorted(set(found.values()))}
    return {
        file: packages[found[name]]
        for file, several in names.items()
        for name in [next((name for name in several if name in found), None)]
        if name
    }


def common_licenses(text: str) -> dict[str, Path]:
    """Return the licences that a copyright file refers to in Debian's common folder, by name."""
    named = sorted(set(_COMMON.findall(text)))
    return {name: _COMMON_LICENSES / name for name in named if (_COMMON_LICENSES / name).is_file()}


def _names(file: Path) -> list[str]:
    """Return the paths under which dpkg may know a file: /lib is a link to /usr/lib, and packages use either."""
    paths = dict.fromkeys(str(path) for path in (file, file.resolve()))
    twins = [path.removeprefix("/usr") if path.startswith("/usr/lib") else f"/usr{path}" for path in paths]
    return [*paths, *twins]


def _search(names: list[str]) -> str:
    """Ask dpkg for the packages of these paths. Its exit status is 1 if a path belongs to none."""
    command = [find_program("dpkg-query"), "--search", *names]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout


def _package(name: str) -> DebianPackage:
    ((package, version, architecture, source),) = _installed(name)
    text = _copyright(package) or next(filter(None, map(_copyright, _siblings(source))), None)
    if text is None:
        raise BundleError(f"{_DOCUMENTS / package} has no licence: install the package with its documentation")
    return DebianPackage(name=package, version=version, architecture=architecture, copyright_file=text)


def _copyright(package: str) -> Path | None:
    text = _DOCUMENTS / package / "copyright"
    return text if text.is_file() else None


def _siblings(source: str) -> list[str]:
    """Return the packages of a source: one may link to the text of another, and slim images lack such links."""
    return [package for package, _, _, its_source in _installed() if its_source == source]


def _installed(*names: str) -> list[list[str]]:
    """List name, version, architecture and source of these packages, or of all."""
    fields = "${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\n"
    listing = run(["dpkg-query", "--show", f"--showformat={fields}", *names])
    return [line.split("\t") for line in listing.splitlines()]
