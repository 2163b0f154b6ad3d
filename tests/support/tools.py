"""Programs that some tests need. Without them a test is skipped with the reason; in CI it fails."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_PROBES: Final[dict[str, Sequence[str]]] = {
    "Rscript": ("Rscript", "-e", "library(jsonlite)"),
    "java": ("java", "-version"),
    "javac": ("javac", "-version"),  # a Java without a compiler does not run a source file
    "perl": ("perl", "-MJSON::PP", "-e", "1"),  # Debian's smallest perl has no JSON
}
"""How to see that a program works, where being there is not enough."""


class ToolMissingError(Exception):
    """Raised in CI when a program that the tests need is missing."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Mark a test that runs these programs; `convert` means ImageMagick's.

    Raises ToolMissingError where one is missing and the environment says `CI=true`.
    """
    missing = [tool for tool in tools if find(tool) is None]
    reason = f"not on this machine: {', '.join(missing)} (scripts/install-debian-packages installs them)"
    if missing and os.environ.get("CI") == "true":
        raise ToolMissingError(reason)
    return pytest.mark.skipif(bool(missing), reason=reason)


@cache
def find(tool: str) -> Path | None:
    """Return the path of the program, None if it is missing or does not work."""
    if tool in _KINDS:
        return next((path for path in _on_path(tool) if _KINDS[tool](path)), None)
    found = shutil.which(tool)
    if found is None or (tool in _PROBES and not _succeeds(_PROBES[tool])):
        return None
    return Path(found)


def search_path(*tools: str) -> str:
    """Return a value for PATH in which these programs come first."""
    folders = [str(path.parent) for path in map(find, tools) if path]
    return os.pathsep.join([*dict.fromkeys(folders), os.environ["PATH"]])


def _on_path(tool: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        path = Path(folder, tool)
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def _is_imagemagick(path: Path) -> bool:
    """Return whether this is ImageMagick's convert: other programs have that name, and some call the real one."""
    with path.open("rb") as file:
        if file.read(2) == b"#!":
            return False
    version = subprocess.run([path, "-version"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return version.stdout.startswith(b"Version: ImageMagick")


def _is_static(path: Path) -> bool:
    """Return whether busybox is static: Debian has two, and only the static one runs in a root without libraries."""
    with path.open("rb") as file:
        return b"/ld-linux" not in file.read(1 << 12)


_KINDS: Final[dict[str, Callable[[Path], bool]]] = {"convert": _is_imagemagick, "busybox": _is_static}
"""How to see that a program is the one that is meant, where several have its name."""


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
