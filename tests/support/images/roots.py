"""File systems for containers, made without a registry: Debian's, and smaller ones."""

import io
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.support.images.store import Store
from tests.support.tools import find

_SCRIPTS: Final = Path(__file__).resolve().parents[3] / "scripts"

_DEBIAN: Final[Mapping[str, tuple[str, ...]]] = {
    "debian11": ("bullseye", "python3"),  # a Python of its own, which is older than what cm-exec can run on
    "debian12": ("bookworm", "python3", "python3-venv"),  # also what Dockerfile.base builds on
    "debian13": ("trixie", "perl"),  # also what Dockerfile.base ends in
}
"""Suite, and packages in addition to the smallest system with apt."""

_MUSL_ECHO: Final = """
#include <stdio.h>
int main(void) { for (int c; (c = getchar()) != EOF;) putchar(c); return 0; }
"""


def build_root(store: Store, name: str, image: str) -> None:
    """Make the image `image` of the root `name`."""
    if name in _DEBIAN:
        suite, *packages = _DEBIAN[name]
        store.run(_SCRIPTS / "debian-image", suite, image, *packages)
    else:
        tar = store.folder / f"{name}.tar"
        _SMALL[name](tar)
        store.run("podman", "import", "--quiet", tar, image)
        tar.unlink()


def _busybox(tar: Path) -> None:
    """One program and its names; not even a folder for temporary files."""
    with tarfile.open(tar, "w") as root:
        _add_busybox(root)


def _busybox_and_musl(tar: Path) -> None:
    """The same, another C library, and a program /bin/copy that needs it."""
    program = tar.with_name("copy")
    subprocess.run(["musl-gcc", "-x", "c", "-o", program, "-"], input=_MUSL_ECHO.encode(), check=True)
    with tarfile.open(tar, "w") as root:
        _add_busybox(root)
        root.add(program, "bin/copy")
        _add_file(root, Path("/lib/ld-musl-x86_64.so.1"), "lib/ld-musl-x86_64.so.1")
    program.unlink()


_SMALL: Final[Mapping[str, Callable[[Path], None]]] = {"busybox": _busybox, "musl": _busybox_and_musl}

ROOTS: Final = (*_SMALL, *_DEBIAN)


def _add_busybox(root: tarfile.TarFile) -> None:
    busybox = find("busybox")
    assert busybox is not None
    _add_file(root, busybox, "bin/busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(names) - {"busybox"}:
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        root.addfile(link)


def _add_file(root: tarfile.TarFile, path: Path, name: str) -> None:
    """A program, whatever links lead to it."""
    content = path.read_bytes()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    root.addfile(member, io.BytesIO(content))
