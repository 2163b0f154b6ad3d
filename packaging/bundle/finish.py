"""Modes, times and the archive, equal for everyone who builds it."""

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bundle.layout import HOME, Layout

_RUN: Final = 0o755
_READ: Final = 0o644


def settle(layout: Layout, epoch: int) -> None:
    """Make everything readable for all and writable for the owner only, with `epoch` as its time of change."""
    programs = {layout.interpreter, layout.entry, *layout.libraries.glob("ld-linux*")}
    for path in _all(layout.root):
        path.chmod(_RUN if path.is_dir() or path in programs else _READ)
        os.utime(path, (epoch, epoch))


def write_archive(layout: Layout, archive: Path, epoch: int) -> None:
    """Write a .tar.gz of the bundle, to be unpacked at `/`. Equal bundles give equal bytes."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(_all(layout.root)):
            name = HOME.relative_to("/") / path.relative_to(layout.root)
            tar.add(path, name, recursive=False, filter=_of_root)


def _all(root: Path) -> Iterator[Path]:
    yield from root.rglob("*")
    yield root


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
