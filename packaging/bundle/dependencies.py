"""The wheel of cm-exec and the packages that it needs, as pip installs them."""

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bundle.commands import run
from bundle.failure import BundleError
from bundle.interpreter import Interpreter
from bundle.layout import Layout

SOURCE: Final = Path(__file__).resolve().parents[2]
LOCKED: Final = SOURCE / "packaging" / "requirements.txt"
"""Every version and every hash."""

_INSTALL_RECORDS: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL", "entry_points.txt")
"""Files that record how and from where a package was installed. Nothing reads them at run time."""

_FOR_DEVELOPERS: Final = ("bench", "conformance", "local_runtime")
"""Packages of cm-exec whose commands need `pip install 'cm-exec[dev]'`, and say so before they import them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Python package in the bundle; `places` are its files and folders at the top of the site folder."""

    name: str
    version: str
    license_expression: str
    places: tuple[str, ...]
    licenses: tuple[Path, ...]


def install(layout: Layout, interpreter: Interpreter, wheel: Path | None, wheelhouse: Path | None) -> list[Package]:
    """Install the wheel, or one built from this source tree, and its dependencies. Raises BundleError."""
    with TemporaryDirectory(prefix="cm-exec-bundle-") as folder:
        wheel = wheel or _build_wheel(Path(folder))
        wanted = Path(folder, "requirements.txt")
        digest = hashlib.sha256(_read(wheel)).hexdigest()
        wanted.write_text(f"{LOCKED.read_text()}\n{wheel.absolute()} --hash=sha256:{digest}\n")
        _pip_install(layout, interpreter, wanted, wheelhouse)
    packages = sorted((_package(found) for found in distributions(path=[str(layout.site)])), key=lambda p: p.name)
    _remove_install_records(layout)
    for name in _FOR_DEVELOPERS:
        shutil.rmtree(layout.site / "cm_exec" / name)
    return packages


def _build_wheel(folder: Path) -> Path:
    run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, SOURCE]
    )
    (wheel,) = folder.glob("cm_exec-*.whl")
    return wheel


def _read(wheel: Path) -> bytes:
    try:
        return wheel.read_bytes()
    except OSError as error:
        raise BundleError(f"{wheel}: {error.strerror}") from None


def _pip_install(layout: Layout, interpreter: Interpreter, wanted: Path, wheelhouse: Path | None) -> None:
    """Install with pip. `--require-hashes` also makes it refuse a dependency that `wanted` does not list."""
    where = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse else []
    run(
        [
            *(sys.executable, "-m", "pip", "--python", str(interpreter.executable), "install", "-q"),
            *("--disable-pip-version-check", "--no-compile", "--only-binary", ":all:", "--require-hashes"),
            *(*where, "--target", str(layout.site), "--requirement", str(wanted)),
        ],
        {"PIP_ROOT_USER_ACTION": "ignore"},
    )


def _package(found: Distribution) -> Package:
    files = [Path(os.path.normpath(path)) for path in found.files or ()]
    places = sorted({path.parts[0] for path in files if path.parts[0] not in {"..", "bin", "share"}})
    metadata = found.metadata
    return Package(
        name=metadata["Name"].lower(),
        version=found.version,
        license_expression=_first(metadata.get_all("License-Expression"), metadata.get_all("License")),
        places=tuple(places),
        licenses=tuple(Path(str(found.locate_file(path))) for path in files if _is_license(path)),
    )


def _first(*several: list[str] | None) -> str:
    return next((values[0] for values in several if values), "")


def _is_license(path: Path) -> bool:
    """Return whether a file is one that packages put into their metadata as licence or notice."""
    if not path.parts[0].endswith(".dist-info"):
        return False
    return path.parts[1] == "licenses" or path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _remove_install_records(layout: Layout) -> None:
    for folder in ("bin", "share"):  # scripts that start the Python of the build; manuals and completions
        shutil.rmtree(layout.site / folder, ignore_errors=True)
    for information in layout.site.glob("*.dist-info"):
        for name in _INSTALL_RECORDS:
            (information / name).unlink(missing_ok=True)
