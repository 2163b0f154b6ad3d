"""Projects that `cm-exec init` creates, and the tools of their languages."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from cm_exec.scaffold import LANGUAGES
from tests.support.tools import needs

CM_EXEC: Final = Path(sys.executable).with_name("cm-exec")

_ALWAYS: Final[Mapping[str, Sequence[str]]] = {
    "bash": ("bash", "jq"),
    "python": ("python3",),
    "node": ("node",),
    "ruby": ("ruby",),
    "php": ("php",),
    "perl": ("perl",),
    "java": ("java", "javac", "make"),
    "c": ("cc", "make"),
    "go": ("go", "make"),
    "r": ("Rscript",),
}
"""What scripts/install-debian-packages installs for a language: without it the tests are skipped, and fail in CI."""

_CRATES: Final = Path("/usr/share/cargo/registry")
"""Where Debian has the sources of Rust's libraries."""


def _is_here(language: str) -> bool:
    """Return whether this machine has a language that is optional in CI."""
    if language == "rust" and not list(_CRATES.glob("serde_json-*")):
        return False
    return language != "julia" and all(tool.is_installed for tool in LANGUAGES[language].tools)


def each_language() -> list[object]:
    """Return a parameter for each language of this machine."""
    found = [name for name in LANGUAGES if name in _ALWAYS or _is_here(name)]
    return [pytest.param(name, marks=[needs(*_ALWAYS[name])] if name in _ALWAYS else []) for name in found]


def prepare(folder: Path) -> None:
    """Provide what a build needs without a network: Rust's libraries from Debian."""
    if (folder / "Cargo.toml").exists():
        (folder / ".cargo").mkdir()
        (folder / ".cargo" / "config.toml").write_text(
            f'[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "{_CRATES}"\n'
        )


def run(folder: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with the installed cm-exec first on PATH."""
    path = os.pathsep.join([str(CM_EXEC.parent), os.environ["PATH"]])
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def init(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `cm-exec init ARGUMENTS`."""
    return run(folder, "cm-exec", "init", *arguments, **variables)
