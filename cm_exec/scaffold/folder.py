"""Writing a new folder: all of it or nothing, and over nothing."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path


class FolderError(Exception):
    """A folder that the files cannot be written to. Its text says why, and what to do."""


def existing(folder: Path, names: Collection[str]) -> list[str]:
    """Which of the names are taken, be it by a link that leads nowhere."""
    return [name for name in names if os.path.lexists(folder / name)]


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files, with the folders that they need. Raises FolderError, and has then left nothing behind."""
    made: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            _make_folders(path.parent, made)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError):
            raise FolderError(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        made.append(each)


def _remove(made: list[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
