"""Files of a new project: all of them are written or none, and none replaces another."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class ProjectFilesError(Exception):
    """Raised when the files of a project cannot be written. The text says why."""


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files, with the folders that they need. Raises ProjectFilesError, and leaves nothing behind then."""
    made: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            missing = [each for each in path.parents if not each.exists()]
            for each in reversed(missing):
                each.mkdir()
                made.append(each)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise ProjectFilesError(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
        raise
