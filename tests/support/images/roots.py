"""Create file systems for containers without a registry: Debian, and smaller ones."""

import io
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.support.images.debian import Debian
from tests.support.images.store import Store
from tests.support.tools import find

_DEBIAN: Final[Mapping[str, Debian]] = {
    "debian11": Debian(suite="bullseye", packages=("python3",), installed=False),  # a Python that is older than 3.11
    "debian12": Debian(suite="bookworm", installed=False),
    "debian13": Debian(suite="trixie", packages=("perl",)),  # the base image is built on it, and an example
}

_MUSL_ECHO: Final = """
#include <stdio.h>
int main(void) { for (int c; (c = getchar()) != EOF;) putchar(c); return 0; }
"""


def import_root(store: Store, name: str, image: str) -> None:
    """Create the image `image` from the root `name`."""
    if name in _DEBIAN:
        store.run("podman", "import", "--quiet", _DEBIAN[name].tar(store.folder), image)
    else:
        tar = store.folder / f"{name}.tar"
        _SMALL[name](tar)
        store.run("podman", "import", "--quiet", tar, image)
        tar.unlink()


def _busybox(tar: Path) -> None:
    """Write one program and its names, without a folder for temporary files."""
    with tarfile.open(tar, "w") as root:
        _add_busybox(root)


def _busybox_and_musl(tar: Path) -> None:
    """Write the same with another C library and a program /bin/copy that needs it."""
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
    """Add a program under this name. A link is added as the file that it points to."""
    content = path.read_bytes()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    root.addfile(member, io.BytesIO(content))
